#include "guestmem/latency_histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

namespace faultline {
namespace {

constexpr uint64_t kTop = (uint64_t{1} << 40) - 1;

double RelativeError(uint64_t got, uint64_t want) {
  if (got == want) return 0;
  return std::abs(static_cast<double>(got) - static_cast<double>(want)) / static_cast<double>(want);
}

TEST(LatencyHistogramTest, IsEmptyAtFirst) {
  const LatencyHistogram h;
  EXPECT_EQ(h.count(), 0u);
  EXPECT_EQ(h.max(), 0u);
  EXPECT_EQ(h.Quantile(0.5), 0u);
}

TEST(LatencyHistogramTest, OneValueComesBackWithinOnePercentWhereverItLies) {
  for (uint64_t v = 1; v < kTop; v += 1 + v / 97) {
    LatencyHistogram h;
    h.Record(v);
    for (const double q : {0.0, 0.5, 0.99, 1.0}) {
      ASSERT_LE(RelativeError(h.Quantile(q), v), 0.01) << "value " << v << " quantile " << q;
    }
    ASSERT_EQ(h.max(), v);
  }
}

TEST(LatencyHistogramTest, EveryBucketHoldsExactlyTheValuesFromItsFloorToTheNext) {
  for (unsigned i = 0; i + 1 < LatencyHistogram::kBuckets; ++i) {
    const uint64_t floor = LatencyHistogram::BucketFloor(i);
    const uint64_t next = LatencyHistogram::BucketFloor(i + 1);
    ASSERT_LT(floor, next) << "bucket " << i;
    ASSERT_EQ(LatencyHistogram::BucketOf(floor), i);
    ASSERT_EQ(LatencyHistogram::BucketOf(next - 1), i);
  }
}

TEST(LatencyHistogramTest, AValueBeyondTheRangeIsClampedAndTheMaximumStaysTrue) {
  LatencyHistogram h;
  h.Record(uint64_t{1} << 50);
  h.Record(~uint64_t{0});
  EXPECT_EQ(h.count(), 2u);
  EXPECT_EQ(h.max(), ~uint64_t{0});
  EXPECT_EQ(LatencyHistogram::BucketOf(~uint64_t{0}), LatencyHistogram::kBuckets - 1);
}

TEST(LatencyHistogramTest, QuantilesOfAMixedLoadAreWithinOnePercentOfTheSortedTruth) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> latency(10, 2);
  LatencyHistogram h;
  std::vector<uint64_t> truth;
  for (int i = 0; i < 20'000; ++i) {
    const auto v = std::clamp(static_cast<uint64_t>(latency(random)), uint64_t{1}, kTop);
    truth.push_back(v);
    h.Record(v);
  }
  std::sort(truth.begin(), truth.end());
  for (const double q : {0.01, 0.1, 0.5, 0.9, 0.99, 0.999}) {
    // One rank either way: implementations may differ in which neighbour a quantile names.
    const auto rank = static_cast<size_t>(q * static_cast<double>(truth.size()));
    const uint64_t got = h.Quantile(q);
    const double error = std::min({RelativeError(got, truth[rank]), RelativeError(got, truth[rank - 1]),
                                   RelativeError(got, truth[std::min(rank + 1, truth.size() - 1)])});
    EXPECT_LE(error, 0.01) << "quantile " << q << ": " << got << " for " << truth[rank];
  }
}

TEST(LatencyHistogramTest, QuantileNeverDecreasesAndNeverExceedsTheMaximum) {
  std::mt19937_64 random(2);
  LatencyHistogram h;
  for (int i = 0; i < 1000; ++i) h.Record(random() % 1'000'000);
  uint64_t last = 0;
  for (double q = 0; q <= 1.0; q += 0.001) {
    const uint64_t v = h.Quantile(q);
    ASSERT_GE(v, last);
    ASSERT_LE(v, h.max() + h.max() / 100);
    last = v;
  }
}

TEST(LatencyHistogramTest, MergingIsTheSameAsRecordingBoth) {
  LatencyHistogram a;
  LatencyHistogram b;
  LatencyHistogram both;
  for (uint64_t v = 1; v < 100'000; v += 37) {
    (v % 2 == 0 ? a : b).Record(v);
    both.Record(v);
  }
  a.Merge(b);
  EXPECT_EQ(a.count(), both.count());
  EXPECT_EQ(a.max(), both.max());
  for (unsigned i = 0; i < LatencyHistogram::kBuckets; ++i) ASSERT_EQ(a.bucket(i), both.bucket(i));
  const LatencyHistogram copy(both);
  EXPECT_EQ(copy.count(), both.count());
}

TEST(LatencyHistogramTest, MayBeReadWhileItsOwnerRecords) {
  LatencyHistogram h;
  std::thread writer([&] {
    for (uint64_t i = 1; i <= 20'000; ++i) h.Record(i);
  });
  uint64_t last = 0;
  while (last < 20'000) {
    const uint64_t now = h.count();
    ASSERT_GE(now, last);
    last = now;
  }
  writer.join();
  EXPECT_EQ(h.count(), 20'000u);
}

}  // namespace
}  // namespace faultline
