#include <gtest/gtest.h>

#include "guestmem/error.h"
#include "vmm/storm/plan.h"
#include "vmm/storm/storm.h"

namespace faultline {
namespace {

TEST(StormOptions, AreFineByDefault) { EXPECT_NO_THROW(ValidateStormOptions({})); }

TEST(StormOptions, HaveWordsThatReadBack) {
  for (const char* word : {"kvm", "threads"}) EXPECT_EQ(ToString(ParseStormEngine(word)), word);
  for (const char* word : {"random", "sequential", "hot", "same-leaf"})
    EXPECT_EQ(ToString(ParseStormPattern(word)), word);
  for (const char* word : {"forced", "cooperative", "mixed"}) EXPECT_EQ(ToString(ParseStormUnplug(word)), word);
}

TEST(StormOptions, NameTheChoicesWhenAWordIsUnknown) {
  try {
    ParseStormPattern("zigzag");
    FAIL() << "was taken";
  } catch (const UsageError& e) {
    EXPECT_STREQ(e.what(), "unknown storm pattern 'zigzag': choose one of random, sequential, hot, same-leaf");
  }
}

TEST(StormOptions, RefuseWhatMakesNoStorm) {
  const auto refused = [](auto change) {
    StormOptions options;
    change(options);
    EXPECT_THROW(ValidateStormOptions(options), UsageError);
  };
  refused([](StormOptions& o) { o.vcpus = 0; });
  refused([](StormOptions& o) { o.vcpus = 257; });
  refused([](StormOptions& o) { o.regions = 0; });
  refused([](StormOptions& o) { o.regions = 1025; });
  refused([](StormOptions& o) { o.region_size = Bytes(0); });
  refused([](StormOptions& o) { o.region_size = 3_MiB; });
  refused([](StormOptions& o) { o.region_size = Bytes(~uint64_t{0} / kLeafSpan.value * kLeafSpan.value); });
  refused([](StormOptions& o) { o.duration = std::chrono::nanoseconds(0); });
  refused([](StormOptions& o) { o.churn = std::chrono::nanoseconds(0); });
  refused([](StormOptions& o) { o.churn = o.duration * 2; });
  refused([](StormOptions& o) { o.fault_around = "lots"; });
  refused([](StormOptions& o) {
    o.vcpus = 256;
    o.regions = 1024;
    o.region_size = 1_GiB;
  });
}

TEST(StormPlan, HasMoreSlotsThanRegionsAndFindsThemByAddress) {
  for (const unsigned regions : {1U, 8U, 1024U}) {
    StormOptions options;
    options.regions = regions;
    options.region_size = 2_MiB;
    const StormPlan plan = StormPlan::For(options, false);
    EXPECT_GT(plan.slots, regions);
    EXPECT_LE(plan.slots, storm_abi::kMaxSlots);
    for (const unsigned slot : {0U, plan.slots - 1}) {
      EXPECT_EQ(plan.SlotOf(plan.SlotRange(slot).start), slot);
      EXPECT_EQ(plan.SlotOf(plan.SlotRange(slot).end() - Bytes(1)), slot);
      EXPECT_TRUE(plan.window.Contains(plan.SlotRange(slot)));
    }
  }
}

}  // namespace
}  // namespace faultline
