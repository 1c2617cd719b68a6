#include "devices/idle_port.h"

#include <algorithm>

namespace faultline {

uint64_t& IdlePort::SeenLocked() {
  const std::thread::id self = std::this_thread::get_id();
  const auto it = std::ranges::find(readers_, self, &Reader::thread);
  if (it != readers_.end()) return it->seen;
  readers_.push_back({self, 0});
  return readers_.back().seen;
}

void IdlePort::Read(Bytes /*offset*/, std::span<std::byte> out) {
  const auto deadline = std::chrono::steady_clock::now() + kMaxWait;
  bool notified = false;
  {
    const MutexLock lock(mutex_);
    const uint64_t seen = SeenLocked();
    while (notifications_ == seen && !interrupted_) {
      if (!changed_.WaitUntil(mutex_, deadline)) break;
    }
    notified = notifications_ != seen;
    // Looked up again: another reader may have moved the table while this one waited.
    SeenLocked() = notifications_;
  }
  StoreLittleEndian(notified ? 1 : 0, out);
}

void IdlePort::Write(Bytes /*offset*/, std::span<const std::byte> /*data*/) { Notify(); }

void IdlePort::Notify() {
  {
    const MutexLock lock(mutex_);
    ++notifications_;
  }
  changed_.NotifyAll();
}

void IdlePort::Interrupt() {
  {
    const MutexLock lock(mutex_);
    interrupted_ = true;
  }
  changed_.NotifyAll();
}

void IdlePort::Rearm() {
  const MutexLock lock(mutex_);
  interrupted_ = false;
}

}  // namespace faultline
