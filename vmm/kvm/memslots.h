// The memslot table: what of guest memory KVM has mapped, and where vCPUs wait when it changes under them.
//
// Owned by the machine, between its VM and its GuestMemory, which calls it as listener under the control lock:
// one writer. vCPU threads read the generation before they enter the guest; one whose KVM_RUN came back with
// EFAULT waits here, asleep, until the revocation it ran into has ended. Lock: kSlots, never held across a
// system call.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <unordered_map>
#include <vector>

#include "guestmem/latency_histogram.h"
#include "guestmem/listener.h"
#include "guestmem/mutex.h"
#include "vmm/kvm/slow_update.h"
#include "vmm/kvm/vm.h"

namespace faultline {

class MemslotTable final : public RegionListener {
 public:
  // `vm` outlives the table.
  explicit MemslotTable(const KvmVm& vm);

  // How to keep the vCPUs out of KVM_RUN while an update lasts (see SlowUpdate). To be set before vCPUs run, and
  // taken back before they are gone; not while a slot is being added or deleted.
  void SetVcpuHold(VcpuHold vcpus);
  void ClearVcpuHold() { slow_update_.reset(); }

  // RegionListener. OnPlug adds a slot; OnUnmap deletes it, which waits for vCPUs inside KVM_RUN. A transient
  // refusal by the host (ENOMEM, EINTR, EAGAIN) is tried again a few times.
  void OnPlug(const RegionView& region) override;
  void OnRevoke(const RegionView& region) noexcept override;
  void OnUnmap(const RegionView& region) override;
  void OnRestore(RegionId old_id, const RegionView& region) noexcept override;

  // Grows with each end of a revocation: a slot deleted, or a region restored. A vCPU's thread samples it
  // before KVM_RUN.
  uint64_t generation() const noexcept { return generation_.load(std::memory_order_acquire); }

  enum class Wake : uint8_t {
    kChanged,       // the table is not as it was when `seen` was sampled: try the access again
    kNoRevocation,  // `patience` ran out, nothing has changed and nothing is being revoked
    kInterrupted,   // `interrupt` is set
  };
  // Sleeps until generation() differs from `seen`. While nothing is being revoked it waits for that no longer
  // than `patience`: a revocation releases blocked faults before it has reached OnRevoke.
  Wake WaitForChange(uint64_t seen, const std::atomic<bool>& interrupt, std::chrono::nanoseconds patience) noexcept;
  // Makes waiting vCPUs look at their `interrupt` flag, which the caller set before.
  void WakeWaiters() noexcept;

  // From now on OnUnmap leaves the slots to the VM's end: deleting them one by one helps nobody.
  void Abandon() noexcept { abandoned_.store(true, std::memory_order_relaxed); }

  struct Entry {
    RegionId region;
    SlotId slot;
    GpaRange gpa;
  };
  std::vector<Entry> Entries() const;
  Bytes mapped_bytes() const;

  // How long the bare deletions took, the ioctl alone.
  void MergeDeleteLatency(LatencyHistogram& into) const { into.Merge(delete_latency_); }

 private:
  int SetWithRetry(SlotId slot, GpaRange gpa, Hva hva, bool read_only) const noexcept;
  void EndRevocationLocked(RegionId region) REQUIRES(mutex_);

  const KvmVm* vm_;
  const unsigned max_slots_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<bool> abandoned_{false};
  std::unique_ptr<SlowUpdate> slow_update_;
  LatencyHistogram delete_latency_;  // written under the control lock

  mutable RankedMutex<LockRank::kSlots> mutex_;
  CondVar changed_;
  std::unordered_map<RegionId, Entry> entries_ GUARDED_BY(mutex_);
  std::vector<RegionId> revoking_ GUARDED_BY(mutex_);
  std::vector<SlotId> free_ GUARDED_BY(mutex_);
  uint32_t next_slot_ GUARDED_BY(mutex_) = 0;
};

}  // namespace faultline
