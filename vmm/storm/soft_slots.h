// A memslot table in software, for host threads that stand in for vCPUs.
//
// Behaves as KVM's: an access runs inside a read section of its slot, and deleting the slot waits until
// every reader has left it. A reader blocked in a userfault is inside; whoever deletes a slot before
// releasing its faults therefore hangs here as it would in KVM. One writer (guest memory's control path),
// one reader thread for each vCPU index. Owned by the engine.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "guestmem/listener.h"
#include "guestmem/mutex.h"
#include "vmm/storm/plan.h"

namespace faultline {

class SoftSlots final : public RegionListener {
 public:
  explicit SoftSlots(const StormPlan& plan);

  // RegionListener.
  void OnPlug(const RegionView& region) override;
  void OnRevoke(const RegionView& region) noexcept override;
  void OnUnmap(const RegionView& region) override;
  void OnRestore(RegionId old_id, const RegionView& region) noexcept override;

  // Grows with each end of a revocation of the slot. To be sampled before Enter.
  uint64_t generation(unsigned slot) const noexcept { return slots_[slot].generation.load(std::memory_order_acquire); }

  Bytes mapped_bytes() const noexcept;

  // Begins an access of vCPU `reader` to `slot`: where its memory starts in this process, or 0 if there is
  // none. Leave follows either way.
  uint64_t Enter(unsigned reader, unsigned slot) noexcept;
  void Leave(unsigned reader) noexcept;

  // After an access failed with EFAULT and was left: sleeps until the revocation it ran into has ended. False
  // if within `patience` there was none.
  bool WaitForChange(unsigned slot, uint64_t seen_generation, std::chrono::nanoseconds patience) noexcept;

 private:
  struct Slot {
    std::atomic<uint64_t> hva{0};
    std::atomic<uint64_t> generation{0};
    std::atomic<bool> revoking{false};  // written under mutex_
  };
  struct alignas(64) Reader {
    std::atomic<uint32_t> inside{0};  // slot + 1
  };

  bool AnyInside(unsigned slot) const noexcept;
  void EndRevocation(Slot& slot) noexcept;

  const StormPlan plan_;
  std::unique_ptr<Slot[]> slots_;
  std::vector<Reader> readers_;
  std::atomic<bool> deleting_{false};

  Mutex mutex_;
  CondVar changed_;
};

}  // namespace faultline
