// Threads that read page sources which may block, so that userfault readers never do.
//
// Owned by GuestMemory. Threads start when work finds none idle, up to kMaxThreads, and end after
// kIdle. The result goes back to FaultHandler::CompleteFill, which validates afresh. A claim whose region
// has died is read to its end and then dropped; an unplug does not wait for it.
#pragma once

#include <chrono>
#include <deque>
#include <vector>

#include "guestmem/fault_handler.h"
#include "guestmem/mutex.h"

namespace faultline {

class SlowFill final : public FillQueue {
 public:
  static constexpr unsigned kMaxThreads = 32;
  static constexpr std::chrono::seconds kIdle{5};

  SlowFill() = default;
  // Drops what is queued and waits for the reads under way.
  ~SlowFill() override;

  // Before the first Submit.
  void Attach(FaultHandler& handler) noexcept { handler_ = &handler; }

  bool Submit(FillClaim claim) noexcept override EXCLUDES(mutex_);

  // A number that rises with each completed fill; WaitBeyond blocks until it is above `seen` or a short
  // time has passed. For host threads that need a page someone else is filling.
  uint64_t progress() const noexcept EXCLUDES(mutex_);
  void WaitBeyond(uint64_t seen) noexcept EXCLUDES(mutex_);

  void Stop() noexcept EXCLUDES(mutex_);

  void AddTotals(FaultTotals& totals) const noexcept EXCLUDES(mutex_);
  void MergeLatency(LatencyHistogram& into) const noexcept EXCLUDES(mutex_);

 private:
  void Run(FaultStats& stats) noexcept EXCLUDES(mutex_);

  FaultHandler* handler_ = nullptr;
  mutable Mutex mutex_;
  CondVar work_;
  CondVar done_;
  CondVar ended_;
  std::deque<FillClaim> queue_ GUARDED_BY(mutex_);
  unsigned idle_ GUARDED_BY(mutex_) = 0;
  unsigned running_ GUARDED_BY(mutex_) = 0;
  uint64_t progress_ GUARDED_BY(mutex_) = 0;
  bool stop_ GUARDED_BY(mutex_) = false;
  // Each set is some thread's, or free for the next one.
  std::vector<std::unique_ptr<FaultStats>> stats_ GUARDED_BY(mutex_);
  std::vector<FaultStats*> free_stats_ GUARDED_BY(mutex_);
};

}  // namespace faultline
