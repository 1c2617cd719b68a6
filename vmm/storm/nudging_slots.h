// Gets vCPUs out of the way of a memslot update that takes too long.
//
// KVM ends an update only when every vCPU that is in the kernel on the guest's behalf has been seen outside
// (SRCU). A vCPU waiting for a page of a slow source stays inside for as long as the source takes; and with
// more vCPUs than processors, one that lost its processor inside stays until it gets one back: updates of
// half a second were measured. So an update that has not ended after a short patience has all vCPUs leave
// KVM_RUN and park; they go on when it has ended. A quick update disturbs nobody.
//
// Stands between guest memory and the memslot table; called under guest memory's control lock. Owns one
// thread. `vcpus` may grow while no update is under way.
#pragma once

#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "guestmem/listener.h"
#include "guestmem/mutex.h"
#include "vmm/kvm/vcpu_thread.h"

namespace faultline {

class NudgingSlots final : public RegionListener {
 public:
  // Both outlive this.
  NudgingSlots(RegionListener& slots, const std::vector<std::unique_ptr<VcpuThread>>& vcpus);
  ~NudgingSlots() override;
  NudgingSlots(const NudgingSlots&) = delete;
  NudgingSlots& operator=(const NudgingSlots&) = delete;

  // RegionListener.
  void OnPlug(const RegionView& region) override;
  void OnRevoke(const RegionView& region) noexcept override { slots_->OnRevoke(region); }
  void OnUnmap(const RegionView& region) override;
  void OnRestore(RegionId old_id, const RegionView& region) noexcept override { slots_->OnRestore(old_id, region); }

  // How many updates were slow enough to need it.
  uint64_t nudges() const noexcept { return nudges_.load(std::memory_order_relaxed); }

 private:
  class Update;
  using Clock = std::chrono::steady_clock;

  void Main();
  void Begin();
  void End();

  RegionListener* const slots_;
  const std::vector<std::unique_ptr<VcpuThread>>* const vcpus_;
  std::atomic<uint64_t> nudges_{0};

  enum class State : uint8_t { kIdle, kUpdating, kParking, kParked };
  Mutex mutex_;
  CondVar changed_;
  State state_ GUARDED_BY(mutex_) = State::kIdle;
  Clock::time_point nudge_at_ GUARDED_BY(mutex_);
  bool quit_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace faultline
