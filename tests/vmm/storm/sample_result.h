// A result with something in every part, for tests of what is made of it.
#pragma once

#include "vmm/storm/storm.h"

namespace faultline {

inline void FillSampleResult(StormResult* result) {
  using std::chrono::milliseconds;
  result->options.seed = 18'000'000'000'000'000'001ULL;
  result->seconds = 2.5;
  result->faults.faults = 1000;
  result->latency = {10'000, 200'000, 300'000, 400'000};
  for (uint64_t ns = 1000; ns < 400'000; ns += 1000) result->latency_histogram.Record(ns);
  result->unplugs = 20;
  result->unplug = {1'000'000, 3'000'000, 3'500'000, 4'000'000};
  result->slot_delete = {900'000, 2'500'000, 2'600'000, 2'700'000};
  result->replugs = 19;
  result->tables = {100, 900, 10, 80, 10};
  result->recycled_share = 0.9;
  result->samples = {{milliseconds(50), 20, 1}, {milliseconds(100), 25, 0}};
  result->spans = {{0, 0, 1, milliseconds(0), milliseconds(70)}, {2, 1, 2, milliseconds(10), milliseconds(100)}};
}

}  // namespace faultline
