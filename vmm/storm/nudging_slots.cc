#include "vmm/storm/nudging_slots.h"

#include <pthread.h>

namespace faultline {
namespace {

// Longer than an undisturbed update takes, short beside what a blocked one does.
constexpr std::chrono::microseconds kPatience{500};

}  // namespace

class NudgingSlots::Update {
 public:
  explicit Update(NudgingSlots& owner) : owner_(&owner) { owner_->Begin(); }
  ~Update() { owner_->End(); }
  Update(const Update&) = delete;
  Update& operator=(const Update&) = delete;

 private:
  NudgingSlots* owner_;
};

NudgingSlots::NudgingSlots(RegionListener& slots, const std::vector<std::unique_ptr<VcpuThread>>& vcpus)
    : slots_(&slots), vcpus_(&vcpus), thread_([this] { Main(); }) {}

NudgingSlots::~NudgingSlots() {
  {
    MutexLock lock(mutex_);
    quit_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void NudgingSlots::OnPlug(const RegionView& region) {
  const Update update(*this);
  slots_->OnPlug(region);
}

void NudgingSlots::OnUnmap(const RegionView& region) {
  const Update update(*this);
  slots_->OnUnmap(region);
}

void NudgingSlots::Begin() {
  MutexLock lock(mutex_);
  state_ = State::kUpdating;
  nudge_at_ = Clock::now() + kPatience;
  changed_.NotifyAll();
}

void NudgingSlots::End() {
  {
    MutexLock lock(mutex_);
    while (state_ == State::kParking) changed_.Wait(mutex_);
    const bool parked = state_ == State::kParked;
    state_ = State::kIdle;
    if (!parked) return;
  }
  for (const auto& vcpu : *vcpus_) vcpu->Resume();
}

void NudgingSlots::Main() {
  pthread_setname_np(pthread_self(), "nudge");
  for (;;) {
    {
      MutexLock lock(mutex_);
      while (!quit_ && (state_ != State::kUpdating || Clock::now() < nudge_at_)) {
        if (state_ == State::kUpdating) {
          changed_.WaitUntil(mutex_, nudge_at_);
        } else {
          changed_.Wait(mutex_);
        }
      }
      if (quit_) return;
      state_ = State::kParking;
    }
    // Without the lock: a vCPU's own comes before it.
    for (const auto& vcpu : *vcpus_) vcpu->RequestPause();
    nudges_.fetch_add(1, std::memory_order_relaxed);
    MutexLock lock(mutex_);
    state_ = State::kParked;
    changed_.NotifyAll();
  }
}

}  // namespace faultline
