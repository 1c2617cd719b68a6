// A log-linear histogram of durations in nanoseconds: 64 linear buckets to each power of two, so a
// quantile is off by at most 1/128 of its value (under 0.8 %).
//
// One writer; any number of concurrent readers, which see each bucket torn-free but the whole possibly
// in mid-update. Merging and quantiles are for readers.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace faultline {

class LatencyHistogram {
 public:
  static constexpr unsigned kSubBits = 6;                  // 64 linear buckets an octave
  static constexpr unsigned kOctaves = 40 - kSubBits + 1;  // up to 2^40 ns, about 18 minutes; longer is clamped
  static constexpr unsigned kBuckets = kOctaves << kSubBits;

  LatencyHistogram() = default;
  LatencyHistogram(const LatencyHistogram& other) { Merge(other); }
  LatencyHistogram& operator=(const LatencyHistogram&) = delete;

  void Record(uint64_t ns) noexcept;
  void Merge(const LatencyHistogram& other) noexcept;

  uint64_t count() const noexcept;
  uint64_t max() const noexcept { return max_.load(std::memory_order_relaxed); }
  // The value below which a share `q` (0..1) of the recorded ones lies; 0 when empty.
  uint64_t Quantile(double q) const noexcept;

  // For charts: bucket `i` holds values in [BucketFloor(i), BucketFloor(i + 1)).
  uint64_t bucket(unsigned i) const noexcept { return buckets_[i].load(std::memory_order_relaxed); }
  static unsigned BucketOf(uint64_t ns) noexcept;
  static uint64_t BucketFloor(unsigned i) noexcept;

 private:
  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};
  std::atomic<uint64_t> max_{0};
};

}  // namespace faultline
