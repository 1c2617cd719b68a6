// How much memory a guest should have: from how hard the host is pressed for memory, and what the guest has to spare.
//
// Pure: all it knows comes with the samples. A guest's spare memory is kept within a band, wide where the host is calm
// and narrow where it is pressed. Nothing happens inside the band, a step goes to a point well inside it, pressure
// begins at another figure than it ends at, and steps are some time apart: so that small changes cause none. For one
// thread.
// Source: Weiner et al., TMO: Transparent Memory Offloading in Datacenters, ASPLOS 2022 (pressure as the signal);
// Documentation/accounting/psi.rst.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "guestmem/types.h"

namespace faultline {

// What can be set, a virtio-mem device's size or what a balloon leaves, and its state.
struct MemoryLever {
  std::string name;
  Bytes requested;  // of the guest
  Bytes actual;     // what it has made of that
  Bytes min, max;   // multiples of `step`
  Bytes step;

  bool settled() const { return requested == actual; }
};

struct MemorySample {
  std::chrono::steady_clock::time_point now;
  // The share of the last ten seconds in which some task waited for memory, in percent; none if the host does not say.
  std::optional<double> host_pressure;
  Bytes guest_total;
  Bytes guest_available;  // what its programs could take without swapping
  MemoryLever lever;
};

struct MemoryDecision {
  Bytes target;        // the lever's `requested` when nothing is to change
  std::string reason;  // a clause without a full stop
};

class MemoryPolicy {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr double kPressureBegins = 10.0;
  static constexpr double kPressureEnds = 2.0;
  // Growth is urgent for the guest; shrinking can wait.
  static constexpr std::chrono::seconds kBeforeGrowing{3};
  static constexpr std::chrono::seconds kBeforeShrinking{15};
  // For so long a guest may take to follow.
  static constexpr std::chrono::seconds kPatience{60};

  MemoryDecision Decide(const MemorySample& sample);
  // The decision was carried out.
  void Done(Clock::time_point now) { last_change_ = now; }

  bool pressed() const { return pressed_; }

 private:
  MemoryDecision Grow(const MemorySample& sample, Bytes wanted) const;
  MemoryDecision Shrink(const MemorySample& sample, Bytes wanted) const;
  bool After(std::chrono::seconds pause, Clock::time_point now) const {
    return !last_change_ || now - *last_change_ >= pause;
  }

  bool pressed_ = false;
  std::optional<Clock::time_point> last_change_;
};

}  // namespace faultline
