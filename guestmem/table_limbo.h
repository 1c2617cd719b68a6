// Where leaf tables of unplugged regions wait: for a re-plug that takes them back, or for the heap.
//
// Owned by GuestMemory. Tables enter detached and empty, right after the slot of their region was
// deleted. Two ways out before the heap:
//   - TakeBack(base): for the same guest-physical stretch, at any time. Faults of the old incarnation may
//     still hold the table; they lock it, meet another owner and another generation, and retry.
//   - TakeQuiescent(): for any stretch, only after a grace period: nobody can hold the table any more.
// Expire, run by the RCU reclaimer, frees tables whose grace period is over and that nobody wanted for
// kLinger; the cap makes the oldest go early, through RCU if their grace period is not over. Nothing is
// ever queued as a callback while a table waits here, so nothing has to be cancelled.
//
// Lock: rank kLimbo, a leaf lock may be held. Nothing here blocks or throws after construction.
#pragma once

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "guestmem/leaf_table.h"
#include "guestmem/mutex.h"
#include "guestmem/rcu_domain.h"
#include "guestmem/types.h"

namespace faultline {

class TableLimbo {
 public:
  // How long an expired table stays available.
  static constexpr std::chrono::seconds kLinger{2};

  TableLimbo(RcuDomain& domain, TableCounters& counters, size_t cap);
  ~TableLimbo();
  TableLimbo(const TableLimbo&) = delete;
  TableLimbo& operator=(const TableLimbo&) = delete;

  // Tables on their way in, gathered so that one look at the clock and one grace period serve them all.
  class Batch {
   public:
    Batch() = default;
    Batch(Batch&& other) noexcept : head_(std::exchange(other.head_, nullptr)) {}
    Batch& operator=(Batch&&) = delete;
    ~Batch();
    // `table` has no owner, is empty and unreachable for new readers.
    void Add(std::unique_ptr<LeafTable> table) noexcept;

   private:
    friend class TableLimbo;
    LeafTable* head_ = nullptr;
  };
  void Put(Batch batch) noexcept EXCLUDES(mutex_);
  void Put(std::unique_ptr<LeafTable> table) noexcept {
    Batch batch;
    batch.Add(std::move(table));
    Put(std::move(batch));
  }

  // A table that served the stretch at `base` before, or null. The caller adopts it under its lock.
  std::unique_ptr<LeafTable> TakeBack(Gpa base) noexcept EXCLUDES(mutex_);

  // A table for any stretch: one whose grace period is over if there is one, else from the heap, else
  // null. Called by faults: gives up on the limbo rather than wait for its lock.
  std::unique_ptr<LeafTable> Allocate() noexcept EXCLUDES(mutex_);

  // Frees what is over. True while tables remain.
  bool Expire() noexcept EXCLUDES(mutex_);
  // Empties the limbo; tables whose grace period is not over are retired.
  void Clear() noexcept EXCLUDES(mutex_);

  size_t size() const noexcept EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return size_;
  }

 private:
  using LimboMutex = RankedMutex<LockRank::kLimbo>;
  static constexpr size_t kBuckets = 1024;

  size_t BucketOf(Gpa base) const noexcept { return base.value / kLeafSpan.value % kBuckets; }
  std::unique_ptr<LeafTable> RemoveLocked(LeafTable* table) noexcept REQUIRES(mutex_);
  void DiscardLocked(LeafTable* table) noexcept REQUIRES(mutex_);

  RcuDomain& domain_;
  TableCounters& counters_;
  const size_t cap_;
  mutable LimboMutex mutex_;
  std::vector<LeafTable*> buckets_ GUARDED_BY(mutex_);  // chains by stretch
  LeafTable* oldest_ GUARDED_BY(mutex_) = nullptr;
  LeafTable* newest_ GUARDED_BY(mutex_) = nullptr;
  size_t size_ GUARDED_BY(mutex_) = 0;
};

}  // namespace faultline
