#include "vmm/kvm/slow_update.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace faultline {
namespace {

class SlowUpdateTest : public ::testing::Test {
 protected:
  std::atomic<int> holds_{0};
  std::atomic<int> releases_{0};
  SlowUpdate slow_{{[this] {
                      ++holds_;
                      holds_.notify_all();
                    },
                    [this] { ++releases_; }}};
};

TEST_F(SlowUpdateTest, ALongUpdateHoldsTheVcpusOnceAndItsEndReleasesThem) {
  for (int round = 1; round <= 3; ++round) {
    {
      const SlowUpdate::Update update(&slow_);
      holds_.wait(round - 1);
      EXPECT_EQ(releases_, round - 1) << "released although the update goes on";
    }
    EXPECT_EQ(holds_, round);
    EXPECT_EQ(releases_, round);
  }
}

TEST_F(SlowUpdateTest, EveryHoldIsReleasedHoweverTheUpdatesEndFallsBesideIt) {
  for (int i = 0; i < 200; ++i) {
    const SlowUpdate::Update update(&slow_);
    std::this_thread::sleep_for(std::chrono::microseconds(i % 2 == 0 ? 480 : 520));
  }
  EXPECT_EQ(holds_, releases_);
}

TEST_F(SlowUpdateTest, WithoutAnUpdateNobodyIsHeld) {
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(holds_, 0);
}

TEST_F(SlowUpdateTest, ATableWithoutVcpusNeedsNone) { const SlowUpdate::Update update(nullptr); }

}  // namespace
}  // namespace faultline
