#include "vmm/control/memory_policy.h"

#include <algorithm>
#include <cmath>

namespace faultline {
namespace {

// Shares of its memory that a guest has to spare.
struct Band {
  double low, aim, high;
};
constexpr Band kCalm{.low = 0.15, .aim = 0.30, .high = 0.50};
constexpr Band kPressed{.low = 0.05, .aim = 0.10, .high = 0.20};

// One step takes no more than this part of what the guest has.
constexpr uint64_t kLargestCut = 4;

// Far beyond what any guest has, and small enough for sums.
constexpr Bytes kLargestGuest = 1_GiB * 1024 * 1024;

Bytes RoundDown(Bytes size, Bytes step) { return Bytes(size.value - size.value % step.value); }
Bytes RoundUp(Bytes size, Bytes step) { return RoundDown(Bytes(size.value + step.value - 1), step); }

std::string Percent(double share) { return std::to_string(std::lround(share * 100)) + " %"; }

MemoryDecision Keep(const MemorySample& sample, std::string reason) {
  return {sample.lever.requested, std::move(reason)};
}

}  // namespace

MemoryDecision MemoryPolicy::Decide(const MemorySample& sample) {
  if (sample.host_pressure) {
    pressed_ = *sample.host_pressure >= (pressed_ ? kPressureEnds : kPressureBegins);
  } else {
    pressed_ = false;
  }
  // The guest's figures, which it may make up.
  if (sample.guest_total == Bytes(0) || sample.guest_total > kLargestGuest ||
      sample.guest_available > sample.guest_total) {
    return Keep(sample, "the guest's figures make no sense");
  }
  const Band band = pressed_ ? kPressed : kCalm;
  const double total = static_cast<double>(sample.guest_total.value);
  const double spare = static_cast<double>(sample.guest_available.value) / total;
  const double used = total - static_cast<double>(sample.guest_available.value);
  const auto wanted_total = static_cast<uint64_t>(used / (1 - band.aim));

  if (spare < band.low && wanted_total > sample.guest_total.value) {
    return Grow(sample, Bytes(wanted_total - sample.guest_total.value));
  }
  if (!sample.lever.settled()) {
    if (!After(kPatience, sample.now)) return Keep(sample, "the guest is still following the last request");
    return {std::clamp(RoundUp(sample.lever.actual, sample.lever.step), sample.lever.min, sample.lever.max),
            "the guest did not follow the last request, which is taken back"};
  }
  if (spare > band.high) return Shrink(sample, Bytes(sample.guest_total.value - wanted_total));
  return Keep(sample, Percent(spare) + " of the guest's memory is to spare, between " + Percent(band.low) + " and " +
                          Percent(band.high));
}

MemoryDecision MemoryPolicy::Grow(const MemorySample& sample, Bytes wanted) const {
  const MemoryLever& lever = sample.lever;
  // From what it has: a guest that runs short while it shrinks keeps what it has not given up yet.
  const Bytes target = std::min(lever.max, RoundUp(lever.actual + wanted, lever.step));
  if (target <= lever.requested) {
    return Keep(sample, lever.requested == lever.max ? "the guest is short of memory, and has all there is"
                                                     : "the guest is short of memory, and more is on its way");
  }
  if (!After(kBeforeGrowing, sample.now)) return Keep(sample, "the last change is too recent for another");
  return {target, std::string("the guest is short of memory") + (pressed_ ? ", though the host is too" : "")};
}

MemoryDecision MemoryPolicy::Shrink(const MemorySample& sample, Bytes wanted) const {
  const MemoryLever& lever = sample.lever;
  const Bytes room = lever.requested - std::min(lever.min, lever.requested);
  const Bytes largest(std::max(sample.guest_total.value / kLargestCut, lever.step.value));
  const Bytes cut = RoundDown(std::min({wanted, room, largest}), lever.step);
  if (cut == Bytes(0)) return Keep(sample, "the guest has memory to spare, of which nothing can be taken");
  if (!After(kBeforeShrinking, sample.now)) return Keep(sample, "the last change is too recent for another");
  return {lever.requested - cut,
          pressed_ ? "the host is short of memory" : "the guest has more than half of its memory to spare"};
}

}  // namespace faultline
