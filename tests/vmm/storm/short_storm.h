// Storms of about a second, small enough for sanitizers, and what each must have shown.
#pragma once

#include <gtest/gtest.h>

#include "vmm/storm/storm.h"

namespace faultline {

inline StormOptions ShortStorm(StormEngineKind engine) {
  StormOptions options;
  options.engine = engine;
  options.vcpus = 3;
  options.regions = 4;
  options.region_size = 8_MiB;
  options.duration = std::chrono::seconds(1);
  options.churn = std::chrono::milliseconds(5);
  options.stuck_after = std::chrono::seconds(60);  // a loaded machine under a sanitizer is slow, not stuck
  return options;
}

inline void ExpectCleanStorm(const StormOptions& options) {
  const StormResult result = RunStorm(Host::System(), options);
  EXPECT_TRUE(result.Clean()) << StormSummary(result);
  EXPECT_GT(result.faults.faults, 0U);
  EXPECT_GT(result.reads, 0U);
  EXPECT_GT(result.writes, 0U);
  EXPECT_GT(result.unplugs + result.refusals, 0U);
  EXPECT_GT(result.quiet_points, 0U);
  EXPECT_NE(result.options.seed, 0U);
  EXPECT_FALSE(result.samples.empty());
  EXPECT_GE(result.spans.size(), options.regions);
}

}  // namespace faultline
