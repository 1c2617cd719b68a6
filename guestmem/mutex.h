// A mutex, its guard and its condition variable, annotated for clang's thread-safety analysis.
//
// Lock order, outermost first; debug builds assert it on every acquisition:
//   kControl   plug and unplug of one GuestMemory, QMP command dispatch
//   kMachine   vCPU life, device state
//   kDevice    the state of one device behind a PCI function
//   kSlots     the memslot table
//   kLink      one span of a shadow table's directory
//   kLeaf      one leaf table; its holder may issue a non-blocking page install and nothing else that waits
//   kLimbo     the table limbo
//   kInterrupt the interrupt state of one device
//   kTerminal  everything that takes no further lock (statistics, queues)
// Two locks of one rank are never held together.
#pragma once

#include <cassert>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "guestmem/thread_annotations.h"

namespace faultline {

enum class LockRank : unsigned char {
  kControl = 1,
  kMachine,
  kDevice,
  kSlots,
  kLink,
  kLeaf,
  kLimbo,
  kInterrupt,
  kTerminal
};

#ifndef NDEBUG
namespace lock_order {
// One bit for each rank this thread holds.
inline thread_local unsigned held_ranks = 0;
inline void Acquired(LockRank rank) {
  const unsigned bit = 1U << static_cast<unsigned>(rank);
  assert(held_ranks < bit && "lock order violated");
  held_ranks |= bit;
}
inline void Released(LockRank rank) { held_ranks &= ~(1U << static_cast<unsigned>(rank)); }
}  // namespace lock_order
#else
namespace lock_order {
inline void Acquired(LockRank /*rank*/) {}
inline void Released(LockRank /*rank*/) {}
}  // namespace lock_order
#endif

template <LockRank kRank>
class CAPABILITY("mutex") RankedMutex {
 public:
  RankedMutex() = default;
  RankedMutex(const RankedMutex&) = delete;
  RankedMutex& operator=(const RankedMutex&) = delete;

  void Lock() ACQUIRE() {
    mutex_.lock();
    lock_order::Acquired(kRank);
  }
  void Unlock() RELEASE() {
    lock_order::Released(kRank);
    mutex_.unlock();
  }
  bool TryLock() TRY_ACQUIRE(true) {
    if (!mutex_.try_lock()) return false;
    lock_order::Acquired(kRank);
    return true;
  }

  // Tells the analysis what the caller knows: this thread holds the lock, through a guard it cannot follow.
  void AssertHeld() const noexcept ASSERT_CAPABILITY(this) {}

  std::mutex& native() { return mutex_; }

 private:
  std::mutex mutex_;
};

using Mutex = RankedMutex<LockRank::kTerminal>;

template <class M>
class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(M& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~MutexLock() RELEASE() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  M& mutex_;
};

// A condition variable for RankedMutex. Waits may wake spuriously: callers loop over their predicate.
class CondVar {
 public:
  template <class M>
  void Wait(M& mutex) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.native(), std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  // False when `deadline` passed without a notification.
  template <class M, class Clock, class Duration>
  bool WaitUntil(M& mutex, std::chrono::time_point<Clock, Duration> deadline) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.native(), std::adopt_lock);
    const bool woken = cv_.wait_until(lock, deadline) == std::cv_status::no_timeout;
    lock.release();
    return woken;
  }
  void NotifyOne() { cv_.notify_one(); }
  void NotifyAll() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace faultline
