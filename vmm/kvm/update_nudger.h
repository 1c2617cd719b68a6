// Keeps a memslot update from waiting for vCPUs that sleep inside KVM_RUN.
//
// KVM ends an update only when every vCPU that was inside KVM_RUN at its start has let go of the old slots; one
// that waits for a page from a slow source, in whatever region, holds it up as long as the source takes. A
// signal gets such a vCPU out, and it faults again at once, by then on the new slots. So while an update lasts,
// this nudges the vCPUs every now and then. Owned by the memslot table; its thread begins with the first update
// and sleeps between updates. Thread-safe for one update at a time.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include "guestmem/mutex.h"

namespace faultline {

class UpdateNudger {
 public:
  // `nudge` sends every vCPU's thread out of KVM_RUN and does not wait. Called without a lock.
  explicit UpdateNudger(std::function<void()> nudge) : nudge_(std::move(nudge)) {}
  ~UpdateNudger();
  UpdateNudger(const UpdateNudger&) = delete;
  UpdateNudger& operator=(const UpdateNudger&) = delete;

  // An update is under way as long as this lives. No nudger: nothing to do.
  class Update {
   public:
    explicit Update(UpdateNudger* nudger) : nudger_(nudger) {
      if (nudger_ != nullptr) nudger_->Begin();
    }
    ~Update() {
      if (nudger_ != nullptr) nudger_->End();
    }
    Update(const Update&) = delete;
    Update& operator=(const Update&) = delete;

   private:
    UpdateNudger* nudger_;
  };

 private:
  using Clock = std::chrono::steady_clock;

  void Begin() noexcept;
  void End() noexcept;
  void Main();

  const std::function<void()> nudge_;
  Mutex mutex_;
  CondVar changed_;
  bool updating_ GUARDED_BY(mutex_) = false;
  bool closing_ GUARDED_BY(mutex_) = false;
  Clock::time_point next_nudge_ GUARDED_BY(mutex_);
  std::thread thread_ GUARDED_BY(mutex_);
};

}  // namespace faultline
