#include "vmm/storm/soft_slots.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/vmm/storm/fake_memory.h"

namespace faultline {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Slots {
  StormPlan plan = StormPlan::For(SmallStorm(), false);
  SoftSlots slots{plan};
  RegionView View(unsigned slot) const {
    return {RegionId{slot + 1}, "r", plan.SlotRange(slot), {Hva(0x7000'0000 + slot), plan.slot_size}, false};
  }
};

TEST(SoftSlots, FindMemoryOnlyWherePlugged) {
  Slots t;
  t.slots.OnPlug(t.View(1));
  EXPECT_EQ(t.slots.Enter(0, 1), 0x7000'0001U);
  t.slots.Leave(0);
  EXPECT_EQ(t.slots.Enter(0, 0), 0U);
  t.slots.Leave(0);
  t.slots.OnRevoke(t.View(1));
  t.slots.OnUnmap(t.View(1));
  EXPECT_EQ(t.slots.Enter(0, 1), 0U);
  t.slots.Leave(0);
}

TEST(SoftSlots, DeletingWaitsForTheReaderInside) {
  Slots t;
  t.slots.OnPlug(t.View(0));
  ASSERT_NE(t.slots.Enter(0, 0), 0U);
  std::atomic<bool> deleted{false};
  std::thread deleter([&] {
    t.slots.OnUnmap(t.View(0));
    deleted = true;
  });
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_FALSE(deleted);
  t.slots.Leave(0);
  deleter.join();
  EXPECT_TRUE(deleted);
}

TEST(SoftSlots, DeletingDoesNotWaitForAReaderOfAnotherSlot) {
  Slots t;
  t.slots.OnPlug(t.View(0));
  t.slots.OnPlug(t.View(1));
  ASSERT_NE(t.slots.Enter(0, 1), 0U);
  t.slots.OnUnmap(t.View(0));  // would hang
  t.slots.Leave(0);
}

TEST(SoftSlots, WaitingEndsWithTheRevocation) {
  for (const bool restore : {false, true}) {
    Slots t;
    t.slots.OnPlug(t.View(0));
    const uint64_t seen = t.slots.generation(0);
    t.slots.OnRevoke(t.View(0));
    std::thread waiter([&] { EXPECT_TRUE(t.slots.WaitForChange(0, seen, seconds(0))); });
    if (restore) {
      t.slots.OnRestore(RegionId{1}, t.View(0));
    } else {
      t.slots.OnUnmap(t.View(0));
    }
    waiter.join();
    EXPECT_EQ(t.slots.Enter(0, 0) != 0, restore);
    t.slots.Leave(0);
  }
}

TEST(SoftSlots, WaitingWithoutARevocationSaysSo) {
  Slots t;
  t.slots.OnPlug(t.View(0));
  EXPECT_FALSE(t.slots.WaitForChange(0, t.slots.generation(0), milliseconds(1)));
}

}  // namespace
}  // namespace faultline
