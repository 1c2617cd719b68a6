// The host's side of the block it shares with a storm's vCPUs: commands, slot states, requests to leave,
// and what the vCPUs report.
//
// Thread-safe: commands are guarded by a lock of their own, slot states and requests belong to the churn
// thread, everything else only reads. The block outlives it.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include "guestmem/mutex.h"
#include "vmm/builtin_guest/storm_abi.h"
#include "vmm/storm/plan.h"
#include "vmm/storm/storm.h"

namespace faultline {

class ControlBlock {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  // Fills in the zeroed block. `initial` is empty, or holds each vCPU's word of each page of a region as
  // storm_abi::Block::initial describes.
  ControlBlock(storm_abi::Block* block, const StormPlan& plan, StormPattern pattern, uint64_t seed,
               const std::vector<uint64_t>& initial);

  // --- The churn thread's ---
  void Publish(unsigned slot, uint64_t incarnation, storm_abi::Phase phase) noexcept;
  void SetFocus(unsigned slot) noexcept;
  enum class Answer : uint8_t { kAllLeft, kRefused, kNoAnswer };
  // Asks every vCPU to leave the slot; blocks until all answered, one refused, or the deadline. The request
  // stands until Withdraw.
  Answer AskToLeave(unsigned slot, Deadline deadline) noexcept;
  void Withdraw() noexcept;

  // --- Anybody's ---
  // Blocks until no vCPU has an access under way; false if one still has by the deadline, or after Stop.
  bool Pause(Deadline deadline) noexcept;
  void Resume() noexcept;
  // Ends the vCPUs' work for good.
  void Stop() noexcept;

  uint64_t heartbeat(unsigned vcpu) const noexcept;

  struct Totals {
    uint64_t reads = 0, writes = 0;
    std::array<uint64_t, storm_abi::kViolationKinds> violations{};
    uint64_t violations_total() const { return violations[0] + violations[1] + violations[2]; }
  };
  Totals totals() const noexcept;
  std::vector<StormViolation> violation_details() const;
  // What the vCPUs saw, in ns given their clock's rate.
  StormQuantiles guest_latency(double ticks_per_second) const;

 private:
  storm_abi::VcpuBlock* vcpu(unsigned index) const noexcept { return storm_abi::VcpuBlockOf(block_, index); }
  bool Command(storm_abi::Command command, uint64_t* word) noexcept EXCLUDES(mutex_);

  storm_abi::Block* const block_;
  const unsigned vcpus_;
  uint64_t leave_serial_ = 0;

  Mutex mutex_;
  uint64_t command_serial_ GUARDED_BY(mutex_) = 0;
  bool stopped_ GUARDED_BY(mutex_) = false;
};

}  // namespace faultline
