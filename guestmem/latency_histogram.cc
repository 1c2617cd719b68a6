#include "guestmem/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace faultline {

unsigned LatencyHistogram::BucketOf(uint64_t ns) noexcept {
  ns = std::min(ns, (uint64_t{1} << 40) - 1);
  if (ns < (1U << kSubBits)) return static_cast<unsigned>(ns);
  const unsigned octave = static_cast<unsigned>(std::bit_width(ns)) - kSubBits;  // >= 1
  return (octave << kSubBits) + static_cast<unsigned>((ns >> (octave - 1)) & ((1U << kSubBits) - 1));
}

uint64_t LatencyHistogram::BucketFloor(unsigned i) noexcept {
  const unsigned octave = i >> kSubBits;
  const uint64_t sub = i & ((1U << kSubBits) - 1);
  if (octave == 0) return sub;
  return ((uint64_t{1} << kSubBits) + sub) << (octave - 1);
}

void LatencyHistogram::Record(uint64_t ns) noexcept {
  std::atomic<uint64_t>& bucket = buckets_[BucketOf(ns)];
  // One writer: no read-modify-write needed.
  bucket.store(bucket.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (ns > max_.load(std::memory_order_relaxed)) max_.store(ns, std::memory_order_relaxed);
}

void LatencyHistogram::Merge(const LatencyHistogram& other) noexcept {
  for (unsigned i = 0; i < kBuckets; ++i) {
    const uint64_t n = other.bucket(i);
    if (n != 0) buckets_[i].store(bucket(i) + n, std::memory_order_relaxed);
  }
  max_.store(std::max(max(), other.max()), std::memory_order_relaxed);
}

uint64_t LatencyHistogram::count() const noexcept {
  uint64_t n = 0;
  for (const auto& b : buckets_) n += b.load(std::memory_order_relaxed);
  return n;
}

uint64_t LatencyHistogram::Quantile(double q) const noexcept {
  const uint64_t total = count();
  if (total == 0) return 0;
  const uint64_t rank =
      std::clamp<uint64_t>(static_cast<uint64_t>(std::ceil(q * static_cast<double>(total))), 1, total);
  uint64_t seen = 0;
  for (unsigned i = 0; i < kBuckets; ++i) {
    seen += bucket(i);
    if (seen < rank) continue;
    const uint64_t low = BucketFloor(i);
    const uint64_t middle = low + (BucketFloor(i + 1) - low) / 2;
    return std::min(middle, max());
  }
  return max();
}

}  // namespace faultline
