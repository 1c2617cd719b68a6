// One domain of read-copy-update: speculative readers on one side, objects retired by writers on the other.
//
// A thin skin over liburcu's memb flavour (a reader is two plain stores; writers pay with membarrier(2)).
// Each domain owns a reclaimer thread that waits for grace periods, so no caller of Retire or of the
// polled interface ever does. A vCPU inside KVM_RUN is in no read section and delays nobody.
//
// Properties
//   P1  A pointer loaded with acquire inside a read section stays valid until the section ends.
//       synchronize_rcu returns only after every section that began before it has ended, and the
//       reclaimer deletes an object only after a synchronize_rcu that began after it was retired.
//   P2  Retired objects must be unreachable for new readers when they are retired.
//   P3  Cookie c has elapsed only if a whole grace period lies between Snapshot() and then: Snapshot
//       returns the number after the grace period that may be running, and counts only whole ones.
// Together: freed ⇒ no reader holds it.
//
// Source: Desnoyers et al., "User-Level Implementations of Read-Copy Update", IEEE TPDS 2012.
#pragma once

// The inline forms of read lock and unlock: two plain stores instead of two calls. Their header offers
// them, being under ten lines each, to code of any licence.
#include <urcu/static/urcu-memb.h>
#include <urcu/urcu-memb.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "guestmem/mutex.h"

#if defined(__SANITIZE_THREAD__)
#define FAULTLINE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FAULTLINE_TSAN 1
#endif
#endif
#ifdef FAULTLINE_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace faultline {

// Base of everything that is freed by grace period. Intrusive, so that retiring never allocates.
class RcuObject {
 public:
  RcuObject() = default;
  RcuObject(const RcuObject&) = delete;
  RcuObject& operator=(const RcuObject&) = delete;
  virtual ~RcuObject() = default;

 private:
  friend class RcuDomain;
  RcuObject* next_retired_ = nullptr;
};

class RcuDomain {
 public:
  // Run by the reclaimer after each grace period and, while it returned true, every kHousekeepingPeriod.
  using Housekeeping = std::function<bool()>;
  static constexpr std::chrono::milliseconds kHousekeepingPeriod{250};

  RcuDomain();
  // No reader may be left. Frees everything retired.
  ~RcuDomain();
  RcuDomain(const RcuDomain&) = delete;
  RcuDomain& operator=(const RcuDomain&) = delete;

  // A read section. May nest, may sleep (that only delays frees); must not outlive the domain.
  class ReadGuard {
   public:
    explicit ReadGuard(RcuDomain& domain) noexcept : domain_(domain) {
      RegisterThisThread();
#ifdef FAULTLINE_TSAN
      urcu_memb_read_lock();  // out of line: the sanitizer does not know the library's own barriers
#else
      _urcu_memb_read_lock();
#endif
    }
    ~ReadGuard() {
#ifdef FAULTLINE_TSAN
      __tsan_release(&domain_.tsan_tag_);  // pairs with the acquire after synchronize_rcu
      urcu_memb_read_unlock();
#else
      _urcu_memb_read_unlock();
#endif
    }
    ReadGuard(const ReadGuard&) = delete;
    ReadGuard& operator=(const ReadGuard&) = delete;

   private:
    [[maybe_unused]] RcuDomain& domain_;
  };

  // Deletes `object` after a grace period, on the reclaimer thread. Never blocks, never allocates.
  void Retire(std::unique_ptr<RcuObject> object) noexcept EXCLUDES(mutex_);

  // A grace period in the future, and whether it is over. Snapshot also sees to it that it happens.
  using Cookie = uint64_t;
  Cookie Snapshot() noexcept EXCLUDES(mutex_);
  bool HasElapsed(Cookie cookie) const noexcept { return completed_.load(std::memory_order_acquire) >= cookie; }

  // Blocks until a whole grace period has passed and all that was retired before the call is deleted.
  // For roll-backs, shutdown and tests: nothing on the way of a fault or a successful unplug calls it.
  void Barrier() EXCLUDES(mutex_);

  void SetHousekeeping(Housekeeping housekeeping) EXCLUDES(mutex_);

 private:
  static void RegisterThisThread() noexcept {
    static thread_local Registration registration;
    if (!registration.done) [[unlikely]] {
      urcu_memb_register_thread();
      registration.done = true;
    }
  }
  struct Registration {
    bool done = false;
    ~Registration() {
      if (done) urcu_memb_unregister_thread();
    }
  };

  // How long the reclaimer gathers requests before it pays for a grace period.
  static constexpr std::chrono::milliseconds kGather{1};

  void Reclaim() EXCLUDES(mutex_);
  // False when it is time to end.
  bool WaitForWorkLocked() REQUIRES(mutex_);
  void WakeLocked() noexcept REQUIRES(mutex_) {
    if (sleeping_) wake_.NotifyOne();
    sleeping_ = false;  // one wake is enough
  }

  mutable Mutex mutex_;
  CondVar wake_;
  CondVar progress_;
  RcuObject* retired_ GUARDED_BY(mutex_) = nullptr;
  Cookie started_ GUARDED_BY(mutex_) = 0;    // grace periods begun
  Cookie requested_ GUARDED_BY(mutex_) = 0;  // the highest one somebody wants
  Cookie freed_ GUARDED_BY(mutex_) = 0;      // all that was retired before this one began is deleted
  Housekeeping housekeeping_ GUARDED_BY(mutex_);
  bool housekeeping_due_ GUARDED_BY(mutex_) = false;
  bool sleeping_ GUARDED_BY(mutex_) = false;  // the reclaimer waits for work
  unsigned hurried_ GUARDED_BY(mutex_) = 0;   // callers in Barrier
  bool stop_ GUARDED_BY(mutex_) = false;
  std::atomic<Cookie> completed_{0};
  [[maybe_unused]] char tsan_tag_ = 0;
  std::thread reclaimer_;
};

}  // namespace faultline
