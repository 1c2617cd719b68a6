// Gets the vCPUs out of the way of a memslot update that takes too long.
//
// KVM ends an update only when every vCPU that was inside KVM_RUN at its start has let go of the old slots (SRCU).
// One that waits for a page from a slow source, in whatever region, stays inside as long as the source takes; and
// with more vCPUs than processors, one that lost its processor inside stays until it gets one back: updates of half
// a second were measured. So when an update has not ended after a short patience, all vCPUs are held outside the
// guest until it has. A quick update disturbs nobody.
//
// Owned by the memslot table; its thread begins with the first update and sleeps between updates. Thread-safe for
// one update at a time.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include "guestmem/mutex.h"

namespace faultline {

// How to keep all vCPUs out of KVM_RUN for a while, whatever else is asked of them. Neither waits.
struct VcpuHold {
  std::function<void()> hold;
  std::function<void()> release;  // once for each hold
};

class SlowUpdate {
 public:
  // Both are called without a lock of this held; `hold` on its own thread, `release` on the updating one.
  explicit SlowUpdate(VcpuHold vcpus) : vcpus_(std::move(vcpus)) {}
  ~SlowUpdate();
  SlowUpdate(const SlowUpdate&) = delete;
  SlowUpdate& operator=(const SlowUpdate&) = delete;

  // An update is under way as long as this lives. Null: nothing to do.
  class Update {
   public:
    explicit Update(SlowUpdate* owner) : owner_(owner) {
      if (owner_ != nullptr) owner_->Begin();
    }
    ~Update() {
      if (owner_ != nullptr) owner_->End();
    }
    Update(const Update&) = delete;
    Update& operator=(const Update&) = delete;

   private:
    SlowUpdate* owner_;
  };

 private:
  using Clock = std::chrono::steady_clock;
  enum class State : uint8_t { kIdle, kUpdating, kHolding, kHeld };

  void Begin() noexcept;
  void End() noexcept;
  void Main();

  const VcpuHold vcpus_;
  Mutex mutex_;
  CondVar changed_;
  State state_ GUARDED_BY(mutex_) = State::kIdle;
  bool closing_ GUARDED_BY(mutex_) = false;
  Clock::time_point hold_at_ GUARDED_BY(mutex_);
  std::thread thread_ GUARDED_BY(mutex_);
};

}  // namespace faultline
