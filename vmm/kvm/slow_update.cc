#include "vmm/kvm/slow_update.h"

#include <pthread.h>

#include <system_error>
#include <utility>

namespace faultline {
namespace {

// Longer than an undisturbed update takes, short beside what a blocked one does.
constexpr std::chrono::microseconds kPatience{500};

}  // namespace

SlowUpdate::~SlowUpdate() {
  std::thread thread;
  {
    MutexLock lock(mutex_);
    closing_ = true;
    changed_.NotifyAll();
    thread = std::move(thread_);
  }
  if (thread.joinable()) thread.join();
}

void SlowUpdate::Begin() noexcept {
  MutexLock lock(mutex_);
  state_ = State::kUpdating;
  hold_at_ = Clock::now() + kPatience;
  changed_.NotifyAll();
  if (thread_.joinable()) return;
  try {
    thread_ = std::thread([this] { Main(); });
  } catch (const std::system_error&) {
    // Without a thread the update takes as long as the slowest fault; the next one tries again.
  }
}

void SlowUpdate::End() noexcept {
  {
    MutexLock lock(mutex_);
    while (state_ == State::kHolding) changed_.Wait(mutex_);
    if (std::exchange(state_, State::kIdle) != State::kHeld) return;
  }
  vcpus_.release();
}

void SlowUpdate::Main() {
  pthread_setname_np(pthread_self(), "slow-update");
  while (true) {
    {
      MutexLock lock(mutex_);
      while (!closing_ && (state_ != State::kUpdating || Clock::now() < hold_at_)) {
        if (state_ == State::kUpdating) {
          changed_.WaitUntil(mutex_, hold_at_);
        } else {
          changed_.Wait(mutex_);
        }
      }
      if (closing_) return;
      state_ = State::kHolding;
    }
    // Without the lock: a vCPU's own comes before it.
    vcpus_.hold();
    MutexLock lock(mutex_);
    state_ = State::kHeld;
    changed_.NotifyAll();
  }
}

}  // namespace faultline
