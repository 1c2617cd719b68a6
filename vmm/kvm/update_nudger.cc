#include "vmm/kvm/update_nudger.h"

#include <pthread.h>

#include <system_error>
#include <utility>

namespace faultline {
namespace {

// Longer than an update takes that nobody holds up; then often enough that the few rounds KVM may need (a vCPU
// can come back in time to be waited for again) stay short.
constexpr std::chrono::microseconds kPatience{500};
constexpr std::chrono::milliseconds kInterval{2};

}  // namespace

UpdateNudger::~UpdateNudger() {
  std::thread thread;
  {
    MutexLock lock(mutex_);
    closing_ = true;
    changed_.NotifyAll();
    thread = std::move(thread_);
  }
  if (thread.joinable()) thread.join();
}

void UpdateNudger::Begin() noexcept {
  MutexLock lock(mutex_);
  updating_ = true;
  next_nudge_ = Clock::now() + kPatience;
  changed_.NotifyAll();
  if (thread_.joinable()) return;
  try {
    thread_ = std::thread([this] { Main(); });
  } catch (const std::system_error&) {
    // Without a thread the update takes as long as the slowest fault; the next one tries again.
  }
}

void UpdateNudger::End() noexcept {
  MutexLock lock(mutex_);
  updating_ = false;
}

void UpdateNudger::Main() {
  pthread_setname_np(pthread_self(), "nudge");
  while (true) {
    {
      MutexLock lock(mutex_);
      while (!closing_ && (!updating_ || Clock::now() < next_nudge_)) {
        if (updating_) {
          changed_.WaitUntil(mutex_, next_nudge_);
        } else {
          changed_.Wait(mutex_);
        }
      }
      if (closing_) return;
      next_nudge_ = Clock::now() + kInterval;
    }
    nudge_();
  }
}

}  // namespace faultline
