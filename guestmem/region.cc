#include "guestmem/region.h"

#include <algorithm>

namespace faultline {

bool PinGate::Enter(std::string_view owner) {
  MutexLock lock(mutex_);
  if (closers_ > 0) return false;
  owners_.push_back(owner);
  return true;
}

void PinGate::Leave(std::string_view owner) noexcept {
  MutexLock lock(mutex_);
  const auto it = std::find(owners_.begin(), owners_.end(), owner);
  assert(it != owners_.end() && "left a gate that was not entered");
  *it = owners_.back();
  owners_.pop_back();
  if (owners_.empty()) left_.NotifyAll();
}

std::string PinGate::CloseBy(std::chrono::steady_clock::time_point deadline) {
  MutexLock lock(mutex_);
  ++closers_;
  while (!owners_.empty()) {
    if (std::chrono::steady_clock::now() >= deadline) {
      --closers_;
      return std::string(owners_.front());
    }
    left_.WaitUntil(mutex_, deadline);
  }
  return {};
}

void PinGate::Open() noexcept {
  MutexLock lock(mutex_);
  assert(closers_ > 0 && "opened a gate that was not closed");
  --closers_;
}

unsigned PinGate::count() const noexcept {
  MutexLock lock(mutex_);
  return static_cast<unsigned>(owners_.size());
}

}  // namespace faultline
