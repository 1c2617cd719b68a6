#include <gtest/gtest.h>

#include "tests/vmm/storm/fake_memory.h"
#include "vmm/builtin_guest/storm_worker.h"

namespace faultline {
namespace {

using storm_abi::StormWorker;
using storm_abi::ViolationKind;

constexpr int kManySteps = 20'000;

struct Storm {
  explicit Storm(const StormOptions& options, const std::vector<uint64_t>& initial = {}) : memory(options, initial) {
    memory.Plug(0, 1);
    memory.Plug(1, 2);
  }
  void Steps(int count) {
    for (int i = 0; i < count; ++i) worker.Step();
  }
  uint64_t violations() const { return memory.control.totals().violations_total(); }

  FakeMemory memory;
  StormWorker<FakeMemory> worker{memory.block, 0, memory};
};

class EveryPattern : public testing::TestWithParam<StormPattern> {};
INSTANTIATE_TEST_SUITE_P(Patterns, EveryPattern,
                         testing::Values(StormPattern::kRandom, StormPattern::kSequential, StormPattern::kHot,
                                         StormPattern::kSameLeaf),
                         [](const auto& pattern) { return std::to_string(static_cast<int>(pattern.param)); });

TEST_P(EveryPattern, FindsNothingWrongWithGoodMemoryThatComesAndGoes) {
  Storm storm(SmallStorm(GetParam()));
  uint64_t incarnation = 2;
  for (int round = 0; round < 20; ++round) {
    storm.Steps(kManySteps / 20);
    storm.memory.Unplug(round % 2, incarnation);
    storm.Steps(kManySteps / 20);
    storm.memory.Plug(round % 2, ++incarnation);
  }
  EXPECT_EQ(storm.violations(), 0U);
  EXPECT_GT(storm.memory.control.totals().reads, 0U);
  EXPECT_GT(storm.memory.control.totals().writes, 0U);
}

TEST_P(EveryPattern, ReportsStaleReadsWhenContentSurvivesAReplug) {
  Storm storm(SmallStorm(GetParam()));
  storm.Steps(kManySteps);
  storm.memory.Unplug(0, 1, /*keep_content=*/true);
  storm.memory.Plug(0, 3);
  storm.Steps(kManySteps);
  EXPECT_GT(storm.memory.violations(ViolationKind::kStaleRead), 0U);
}

TEST_P(EveryPattern, ReportsLostWrites) {
  Storm storm(SmallStorm(GetParam()));
  storm.memory.lose_writes = true;
  storm.Steps(kManySteps);
  EXPECT_GT(storm.memory.violations(ViolationKind::kLostWrite), 0U);
  EXPECT_EQ(storm.memory.violations(ViolationKind::kStaleRead), 0U);
}

TEST_P(EveryPattern, ReportsMemoryServedAfterItsUnplug) {
  Storm storm(SmallStorm(GetParam()));
  storm.Steps(kManySteps);
  storm.memory.serve_dead = true;
  storm.memory.Unplug(0, 1, /*keep_content=*/true);
  storm.Steps(kManySteps);
  EXPECT_GT(storm.memory.violations(ViolationKind::kServedDead), 0U);
}

TEST(StormWorker, ReportsAllOnesFromPluggedMemory) {
  Storm storm(SmallStorm());
  storm.memory.present[1] = false;  // gone, and nobody said so
  storm.Steps(kManySteps);
  EXPECT_GT(storm.memory.violations(ViolationKind::kLostWrite), 0U);
}

TEST(StormWorker, DescribesTheFirstViolations) {
  Storm storm(SmallStorm());
  storm.memory.lose_writes = true;
  storm.Steps(kManySteps);
  const auto details = storm.memory.control.violation_details();
  ASSERT_EQ(details.size(), storm_abi::kViolationRecords);
  for (const StormViolation& detail : details) {
    EXPECT_EQ(detail.kind, "lost_write");
    EXPECT_TRUE(storm.memory.plan.window.Contains(detail.gpa));
    EXPECT_EQ(detail.seen, 0U);
    EXPECT_EQ(storm_abi::DecodeStamp(7, detail.expected).incarnation, detail.incarnation);
  }
}

TEST(StormWorker, DoesNotJudgeAReadDuringWhichTheRegionWasReplaced) {
  Storm storm(SmallStorm());
  storm.Steps(kManySteps);
  uint64_t incarnation = 2;
  storm.memory.on_load = [&] {
    for (const unsigned slot : {0U, 1U}) {
      storm.memory.Unplug(slot, incarnation);
      storm.memory.Plug(slot, ++incarnation);
    }
  };
  storm.Steps(1000);
  EXPECT_EQ(storm.violations(), 0U);
}

TEST(StormWorker, ExpectsTheSourcesContentInFreshMemory) {
  const StormOptions options = SmallStorm();
  std::vector<uint64_t> initial(512);
  for (size_t i = 0; i < initial.size(); ++i) initial[i] = 0xabc000 + i;
  Storm storm(options, initial);
  const auto fill = [&] {
    for (unsigned slot = 0; slot < 2; ++slot) {
      for (uint64_t page = 0; page < 512; ++page) {
        storm.memory.words[storm.memory.plan.SlotRange(slot).start.value + page * 4096] = initial[page];
      }
    }
  };
  fill();
  storm.Steps(kManySteps);
  EXPECT_EQ(storm.violations(), 0U);
  storm.memory.Unplug(0, 1);
  storm.memory.Plug(0, 3);  // and zeroes where the file's bytes should be
  storm.Steps(kManySteps);
  EXPECT_GT(storm.memory.violations(ViolationKind::kLostWrite), 0U);
}

TEST(StormWorker, KeepsOutOfASlotItAgreedToLeaveUntilTheRequestIsWithdrawn) {
  Storm storm(SmallStorm());
  bool left = false;
  for (uint64_t serial = 1; !left && serial < 100; ++serial) {
    const uint64_t request = storm_abi::LeaveRequest(serial, 0);
    storm_abi::Store(&storm_abi::VcpuBlockOf(storm.memory.block, 0)->leave_request, request);
    storm.Steps(1);
    const uint64_t answer = storm_abi::Load(&storm_abi::VcpuBlockOf(storm.memory.block, 0)->leave_answer);
    left = answer == storm_abi::LeaveAnswer(request, false);
    EXPECT_TRUE(left || answer == storm_abi::LeaveAnswer(request, true));
  }
  ASSERT_TRUE(left);
  storm.memory.touched.clear();
  storm.Steps(kManySteps);
  EXPECT_EQ(storm.memory.touched[0], 0U);
  EXPECT_GT(storm.memory.touched[1], 0U);
  storm.memory.control.Withdraw();
  storm.Steps(kManySteps);
  EXPECT_GT(storm.memory.touched[0], 0U);
}

TEST(StormWorker, SometimesRefusesToLeave) {
  Storm storm(SmallStorm());
  unsigned refusals = 0;
  for (uint64_t serial = 1; serial <= 1000; ++serial) {
    const uint64_t request = storm_abi::LeaveRequest(serial, 1);
    storm_abi::Store(&storm_abi::VcpuBlockOf(storm.memory.block, 0)->leave_request, request);
    storm.Steps(1);
    const uint64_t answer = storm_abi::Load(&storm_abi::VcpuBlockOf(storm.memory.block, 0)->leave_answer);
    refusals += answer == storm_abi::LeaveAnswer(request, true) ? 1 : 0;
  }
  EXPECT_GT(refusals, 0U);
  EXPECT_LT(refusals, 500U);
}

TEST(StormWorker, MostlyTouchesMemoryThatIsThereAndSometimesMemoryThatIsNot) {
  Storm storm(SmallStorm());
  storm.memory.Unplug(1, 2);
  storm.memory.touched.clear();
  storm.Steps(kManySteps);
  const uint64_t dead = storm.memory.touched[1] + storm.memory.touched[2] + storm.memory.touched[3];
  EXPECT_GT(dead, 0U);
  EXPECT_GT(storm.memory.touched[0], 2 * dead);
  EXPECT_EQ(storm.violations(), 0U);
}

TEST(StormWorker, IdlesWhenEverySlotIsToBeAvoided) {
  Storm storm(SmallStorm());
  storm.memory.Unplug(0, 1);
  storm.memory.Unplug(1, 2);
  storm.Steps(1000);
  EXPECT_GT(storm.memory.idles, 0U);
}

TEST(StormWorker, ReturnsWhenToldToStop) {
  Storm storm(SmallStorm());
  storm.memory.on_load = [&] {
    if (storm.memory.loads == 100) storm.memory.control.Stop();
  };
  storm.worker.Run();
  EXPECT_EQ(storm.memory.loads, 100U);
}

TEST(LatencyBucket, AgreesWithTheHostsHistogram) {
  for (const uint64_t value : {0ULL, 1ULL, 63ULL, 64ULL, 65ULL, 127ULL, 128ULL, 1000ULL, 123'456ULL, 1ULL << 30,
                               (1ULL << 40) - 1, 1ULL << 40, ~0ULL}) {
    EXPECT_EQ(storm_abi::LatencyBucket(value), LatencyHistogram::BucketOf(value)) << value;
  }
}

}  // namespace
}  // namespace faultline
