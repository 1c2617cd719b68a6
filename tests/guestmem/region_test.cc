#include "guestmem/region.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/guestmem/protocol_world.h"

namespace faultline {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

TEST(RegionTest, TranslatesBetweenGuestAndHostAddresses) {
  ProtocolWorld world;
  const auto region = world.MakeRegion({Gpa(0x80000000), kLeafSpan});
  EXPECT_EQ(region->ToHva(Gpa(0x80001234)) - region->hva().start, Bytes(0x1234));
  EXPECT_EQ(region->ToGpa(region->ToHva(Gpa(0x80001234))), Gpa(0x80001234));
}

TEST(RegionTest, LivesThenDiesThenIsDead) {
  ProtocolWorld world;
  const auto region = world.MakeRegion({Gpa(0), kLeafSpan});
  EXPECT_EQ(region->life(), RegionLife::kLive);
  region->AdvanceLife(RegionLife::kDying);
  EXPECT_EQ(region->life(), RegionLife::kDying);
  region->AdvanceLife(RegionLife::kDead);
  EXPECT_EQ(region->life(), RegionLife::kDead);
}

#ifndef NDEBUG
TEST(RegionTest, NeverRevives) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        ProtocolWorld world;
        const auto region = world.MakeRegion({Gpa(0), kLeafSpan});
        region->AdvanceLife(RegionLife::kDying);
        region->AdvanceLife(RegionLife::kLive);
      },
      "only moves forward");
}

TEST(RegionTest, DoesNotSkipDying) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        ProtocolWorld world;
        const auto region = world.MakeRegion({Gpa(0), kLeafSpan});
        region->AdvanceLife(RegionLife::kDead);
      },
      "only moves forward");
}
#endif

TEST(PinGateTest, ClosesAtOnceWhenNobodyIsInside) {
  PinGate gate;
  EXPECT_EQ(gate.CloseBy(steady_clock::now()), "");
  EXPECT_FALSE(gate.Enter("disk"));
  gate.Open();
  EXPECT_TRUE(gate.Enter("disk"));
  EXPECT_EQ(gate.count(), 1u);
  gate.Leave("disk");
}

TEST(PinGateTest, NamesWhoStaysPastTheDeadlineAndOpensAgain) {
  PinGate gate;
  ASSERT_TRUE(gate.Enter("virtio-blk0"));
  EXPECT_EQ(gate.CloseBy(steady_clock::now() + milliseconds(5)), "virtio-blk0");
  EXPECT_TRUE(gate.Enter("virtio-net0"));
  EXPECT_EQ(gate.count(), 2u);
  gate.Leave("virtio-blk0");
  gate.Leave("virtio-net0");
}

TEST(PinGateTest, WaitsForTheLastOneToLeave) {
  PinGate gate;
  ASSERT_TRUE(gate.Enter("a"));
  ASSERT_TRUE(gate.Enter("a"));
  std::thread leaver([&] {
    std::this_thread::sleep_for(milliseconds(10));
    gate.Leave("a");
    std::this_thread::sleep_for(milliseconds(10));
    gate.Leave("a");
  });
  EXPECT_EQ(gate.CloseBy(steady_clock::now() + std::chrono::hours(1)), "");
  EXPECT_EQ(gate.count(), 0u);
  leaver.join();
}

TEST(PinGateTest, LetsNobodyInWhileItWaitsToClose) {
  PinGate gate;
  ASSERT_TRUE(gate.Enter("first"));
  std::thread closer([&] { EXPECT_EQ(gate.CloseBy(steady_clock::now() + std::chrono::hours(1)), ""); });
  while (gate.Enter("late")) {  // until the gate begins to close
    gate.Leave("late");
    std::this_thread::yield();
  }
  EXPECT_FALSE(gate.Enter("later"));
  gate.Leave("first");
  closer.join();
}

TEST(PinGateTest, OneWhoGivesUpDoesNotOpenTheGateForAnotherWhoStillWaits) {
  PinGate gate;
  ASSERT_TRUE(gate.Enter("disk"));
  std::thread patient([&] { EXPECT_EQ(gate.CloseBy(steady_clock::now() + std::chrono::hours(1)), ""); });
  while (gate.Enter("probe")) {  // until the patient one has begun to close
    gate.Leave("probe");
    std::this_thread::yield();
  }
  EXPECT_EQ(gate.CloseBy(steady_clock::now()), "disk");
  EXPECT_FALSE(gate.Enter("late"));
  gate.Leave("disk");
  patient.join();
  EXPECT_FALSE(gate.Enter("later"));
  gate.Open();
  EXPECT_TRUE(gate.Enter("after"));
  gate.Leave("after");
}

}  // namespace
}  // namespace faultline
