#include "guestmem/rcu_domain.h"

#include <algorithm>

namespace faultline {

RcuDomain::RcuDomain() : reclaimer_([this] { Reclaim(); }) {}

RcuDomain::~RcuDomain() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    wake_.NotifyOne();
  }
  reclaimer_.join();
}

void RcuDomain::Retire(std::unique_ptr<RcuObject> object) noexcept {
  MutexLock lock(mutex_);
  RcuObject* raw = object.release();
  raw->next_retired_ = retired_;
  retired_ = raw;
  WakeLocked();
}

RcuDomain::Cookie RcuDomain::Snapshot() noexcept {
  MutexLock lock(mutex_);
  // The one numbered started_ may have begun before now; the next one cannot have.
  const Cookie cookie = started_ + 1;
  requested_ = std::max(requested_, cookie);
  WakeLocked();
  return cookie;
}

void RcuDomain::Barrier() {
  const Cookie cookie = Snapshot();
  MutexLock lock(mutex_);
  ++hurried_;
  wake_.NotifyOne();
  while (freed_ < cookie) progress_.Wait(mutex_);
  --hurried_;
}

void RcuDomain::SetHousekeeping(Housekeeping housekeeping) {
  MutexLock lock(mutex_);
  housekeeping_ = std::move(housekeeping);
}

bool RcuDomain::WaitForWorkLocked() {
  while (!stop_ && retired_ == nullptr && requested_ <= started_) {
    sleeping_ = true;
    if (!housekeeping_due_) {
      wake_.Wait(mutex_);
    } else if (!wake_.WaitUntil(mutex_, std::chrono::steady_clock::now() + kHousekeepingPeriod)) {
      break;
    }
  }
  sleeping_ = false;
  const auto gathered = std::chrono::steady_clock::now() + kGather;
  while (!stop_ && hurried_ == 0 && std::chrono::steady_clock::now() < gathered) wake_.WaitUntil(mutex_, gathered);
  return !stop_ || retired_ != nullptr;
}

void RcuDomain::Reclaim() {
  for (;;) {
    RcuObject* batch = nullptr;
    Cookie current = 0;
    Housekeeping housekeeping;
    bool grace_period = false;
    {
      MutexLock lock(mutex_);
      if (!WaitForWorkLocked()) return;
      batch = retired_;
      retired_ = nullptr;
      grace_period = batch != nullptr || requested_ > started_;
      if (grace_period) current = ++started_;
      housekeeping = housekeeping_;
    }
    if (grace_period) {
      urcu_memb_synchronize_rcu();
#ifdef FAULTLINE_TSAN
      __tsan_acquire(&tsan_tag_);  // pairs with the release at the end of each read section
#endif
      completed_.store(current, std::memory_order_release);
      while (batch != nullptr) {
        std::unique_ptr<RcuObject> dead(batch);
        batch = batch->next_retired_;
      }
    }
    const bool due = housekeeping && housekeeping();
    MutexLock lock(mutex_);
    housekeeping_due_ = due;
    if (grace_period) freed_ = current;
    progress_.NotifyAll();
  }
}

}  // namespace faultline
