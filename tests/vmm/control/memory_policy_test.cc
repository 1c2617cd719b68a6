#include "vmm/control/memory_policy.h"

#include <gtest/gtest.h>

#include <limits>

namespace faultline {
namespace {

using std::chrono::seconds;

// A guest of 512 MiB and a device of 1 GiB, of which it has `sample.lever.actual`.
class MemoryPolicyTest : public testing::Test {
 protected:
  MemoryPolicyTest() {
    sample.now = MemoryPolicy::Clock::time_point(seconds(1000));
    sample.host_pressure = 0.0;
    sample.lever = {
        .name = "vmem0", .requested = 256_MiB, .actual = 256_MiB, .min = Bytes(0), .max = 1_GiB, .step = 2_MiB};
    Spare(30);
  }
  void Spare(unsigned percent) {
    sample.guest_total = 512_MiB + sample.lever.actual;
    sample.guest_available = Bytes(sample.guest_total.value / 100 * percent);
  }
  MemoryDecision Decide() { return policy.Decide(sample); }
  bool Stays() { return Decide().target == sample.lever.requested; }
  // The decision is carried out, and the guest follows at once.
  void Follow() {
    sample.lever.requested = sample.lever.actual = Decide().target;
    policy.Done(sample.now);
  }

  MemorySample sample;
  MemoryPolicy policy;
};

TEST_F(MemoryPolicyTest, LeavesAGuestAloneInsideTheBand) {
  for (const unsigned percent : {16U, 20U, 30U, 40U, 50U}) {
    Spare(percent);
    EXPECT_TRUE(Stays()) << percent;
  }
}

TEST_F(MemoryPolicyTest, GrowsAGuestThatIsShortToWellInsideTheBand) {
  Spare(10);
  const MemoryDecision decision = Decide();
  ASSERT_GT(decision.target, sample.lever.requested);
  EXPECT_EQ(decision.target % sample.lever.step, Bytes(0));
  const double total = static_cast<double>((512_MiB + decision.target).value);
  const double used = static_cast<double>((sample.guest_total - sample.guest_available).value);
  EXPECT_NEAR(1 - used / total, 0.30, 0.01);
}

TEST_F(MemoryPolicyTest, NeverGoesBeyondWhatTheLeverHas) {
  sample.lever.requested = sample.lever.actual = 1000_MiB;
  Spare(1);
  EXPECT_EQ(Decide().target, 1_GiB);
  sample.lever.requested = sample.lever.actual = 1_GiB;
  Spare(1);
  EXPECT_TRUE(Stays());
  sample.lever.requested = sample.lever.actual = 4_MiB;
  Spare(99);
  EXPECT_EQ(Decide().target, Bytes(0));
  sample.lever.requested = sample.lever.actual = Bytes(0);
  Spare(99);
  EXPECT_TRUE(Stays());
}

TEST_F(MemoryPolicyTest, ShrinksInStepsAndReachesAPointWhereItStays) {
  sample.lever.requested = sample.lever.actual = 1_GiB;
  const Bytes used = 300_MiB;
  int steps = 0;
  for (; steps < 20; ++steps) {
    sample.guest_total = 512_MiB + sample.lever.actual;
    sample.guest_available = sample.guest_total - used;
    if (Stays()) break;
    const Bytes before = sample.lever.actual;
    Follow();
    EXPECT_LE(before - sample.lever.actual, Bytes(sample.guest_total.value / 4));
    sample.now += MemoryPolicy::kBeforeShrinking;
  }
  EXPECT_GT(steps, 1);
  EXPECT_LT(steps, 20);
  EXPECT_TRUE(Stays());
}

TEST_F(MemoryPolicyTest, PressureOfTheHostNarrowsTheBandAndEndsLowerThanItBegan) {
  Spare(30);
  sample.host_pressure = 9.9;
  EXPECT_TRUE(Stays());
  sample.host_pressure = 10;
  EXPECT_LT(Decide().target, sample.lever.requested);
  EXPECT_TRUE(policy.pressed());
  sample.host_pressure = 2;
  EXPECT_LT(Decide().target, sample.lever.requested) << "still pressed";
  sample.host_pressure = 1.9;
  EXPECT_TRUE(Stays());
  EXPECT_FALSE(policy.pressed());
  sample.host_pressure = 9;
  EXPECT_TRUE(Stays()) << "not pressed again before it begins anew";
}

TEST_F(MemoryPolicyTest, AHostThatDoesNotTellIsCalm) {
  sample.host_pressure = 50;
  Decide();
  EXPECT_TRUE(policy.pressed());
  sample.host_pressure.reset();
  Decide();
  EXPECT_FALSE(policy.pressed());
}

TEST_F(MemoryPolicyTest, WaitsBetweenSteps) {
  Spare(90);
  Follow();
  Spare(90);
  EXPECT_TRUE(Stays());
  sample.now += MemoryPolicy::kBeforeShrinking - seconds(1);
  EXPECT_TRUE(Stays());
  Spare(1);
  EXPECT_FALSE(Stays()) << "growing waits for less long";
  Spare(90);
  sample.now += seconds(1);
  EXPECT_FALSE(Stays());
}

TEST_F(MemoryPolicyTest, WaitsForAGuestThatFollowsAndTakesBackWhatItDoesNot) {
  policy.Done(sample.now);
  sample.lever.requested = 64_MiB;
  sample.lever.actual = 199_MiB;
  Spare(60);
  EXPECT_TRUE(Stays());
  sample.now += MemoryPolicy::kPatience;
  EXPECT_EQ(Decide().target, 200_MiB) << "what it has, in whole steps";
}

TEST_F(MemoryPolicyTest, AGuestThatRunsShortWhileItShrinksKeepsWhatItHas) {
  policy.Done(sample.now);
  sample.now += MemoryPolicy::kBeforeGrowing;
  sample.lever.requested = 64_MiB;
  sample.lever.actual = 128_MiB;
  Spare(2);
  EXPECT_GT(Decide().target, 128_MiB);
}

TEST_F(MemoryPolicyTest, FiguresThatMakeNoSenseChangeNothing) {
  const uint64_t most = std::numeric_limits<uint64_t>::max();
  for (const auto& [total, available] : std::initializer_list<std::pair<uint64_t, uint64_t>>{
           {0, 0}, {0, most}, {4096, 8192}, {most, 0}, {most, most}, {uint64_t{1} << 60, 0}}) {
    sample.guest_total = Bytes(total);
    sample.guest_available = Bytes(available);
    EXPECT_TRUE(Stays()) << total << " " << available;
  }
}

}  // namespace
}  // namespace faultline
