#include "vmm/kvm/update_nudger.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace faultline {
namespace {

using std::chrono::milliseconds;

TEST(UpdateNudger, ALongUpdateIsNudgedUntilItEnds) {
  std::atomic<uint64_t> nudges{0};
  UpdateNudger nudger([&] {
    ++nudges;
    nudges.notify_all();
  });
  for (int round = 0; round < 3; ++round) {
    const uint64_t before = nudges;
    uint64_t seen = before;
    {
      const UpdateNudger::Update update(&nudger);
      while (seen < before + 3) {
        nudges.wait(seen);
        seen = nudges;
      }
    }
    std::this_thread::sleep_for(milliseconds(5));
    seen = nudges;  // one may have been on its way
    std::this_thread::sleep_for(milliseconds(20));
    EXPECT_EQ(nudges, seen) << "nudged although nothing is under way";
  }
}

TEST(UpdateNudger, WithoutAnUpdateNobodyIsNudged) {
  std::atomic<uint64_t> nudges{0};
  {
    UpdateNudger nudger([&] { ++nudges; });
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_EQ(nudges, 0u);
}

TEST(UpdateNudger, ATableWithoutANudgerNeedsNone) { const UpdateNudger::Update update(nullptr); }

}  // namespace
}  // namespace faultline
