#include "guestmem/table_limbo.h"

#include <cassert>
#include <new>

namespace faultline {

TableLimbo::TableLimbo(RcuDomain& domain, TableCounters& counters, size_t cap)
    : domain_(domain), counters_(counters), cap_(cap), buckets_(kBuckets) {}

TableLimbo::~TableLimbo() { Clear(); }

TableLimbo::Batch::~Batch() { assert(head_ == nullptr && "a batch of tables was not put into limbo"); }

void TableLimbo::Batch::Add(std::unique_ptr<LeafTable> table) noexcept {
  table->limbo_chain_ = head_;
  head_ = table.release();
}

void TableLimbo::Put(Batch batch) noexcept {
  if (batch.head_ == nullptr) return;
  // After the last of them became unreachable, so one grace period from here covers all.
  const RcuDomain::Cookie cookie = domain_.Snapshot();
  const auto now = std::chrono::steady_clock::now();
  MutexLock lock(mutex_);
  while (LeafTable* t = batch.head_) {
    batch.head_ = t->limbo_chain_;
    t->limbo_cookie_ = cookie;
    t->limbo_since_ = now;
    LeafTable*& bucket = buckets_[BucketOf(t->base_)];
    t->limbo_chain_ = bucket;
    bucket = t;
    t->limbo_older_ = newest_;
    t->limbo_newer_ = nullptr;
    (newest_ != nullptr ? newest_->limbo_newer_ : oldest_) = t;
    newest_ = t;
    ++size_;
  }
  while (size_ > cap_) DiscardLocked(oldest_);
}

std::unique_ptr<LeafTable> TableLimbo::TakeBack(Gpa base) noexcept {
  MutexLock lock(mutex_);
  for (LeafTable* t = buckets_[BucketOf(base)]; t != nullptr; t = t->limbo_chain_) {
    if (t->base_ != base) continue;
    counters_.recycled.fetch_add(1, std::memory_order_relaxed);
    return RemoveLocked(t);
  }
  return nullptr;
}

std::unique_ptr<LeafTable> TableLimbo::Allocate() noexcept {
  if (mutex_.TryLock()) {
    std::unique_ptr<LeafTable> table;
    // The oldest has waited longest: if its grace period is not over, no other's is.
    if (oldest_ != nullptr && domain_.HasElapsed(oldest_->limbo_cookie_)) {
      table = RemoveLocked(oldest_);
      counters_.recycled.fetch_add(1, std::memory_order_relaxed);
    }
    mutex_.Unlock();
    if (table != nullptr) return table;
  }
  return std::unique_ptr<LeafTable>(new (std::nothrow) LeafTable(counters_));
}

bool TableLimbo::Expire() noexcept {
  const auto linger_end = std::chrono::steady_clock::now() - kLinger;
  MutexLock lock(mutex_);
  while (oldest_ != nullptr && oldest_->limbo_since_ < linger_end && domain_.HasElapsed(oldest_->limbo_cookie_)) {
    DiscardLocked(oldest_);
  }
  return oldest_ != nullptr;
}

void TableLimbo::Clear() noexcept {
  MutexLock lock(mutex_);
  while (oldest_ != nullptr) DiscardLocked(oldest_);
}

std::unique_ptr<LeafTable> TableLimbo::RemoveLocked(LeafTable* table) noexcept {
  LeafTable** link = &buckets_[BucketOf(table->base_)];
  while (*link != table) link = &(*link)->limbo_chain_;
  *link = table->limbo_chain_;
  (table->limbo_older_ != nullptr ? table->limbo_older_->limbo_newer_ : oldest_) = table->limbo_newer_;
  (table->limbo_newer_ != nullptr ? table->limbo_newer_->limbo_older_ : newest_) = table->limbo_older_;
  table->limbo_chain_ = table->limbo_older_ = table->limbo_newer_ = nullptr;
  --size_;
  return std::unique_ptr<LeafTable>(table);
}

void TableLimbo::DiscardLocked(LeafTable* table) noexcept {
  const bool over = domain_.HasElapsed(table->limbo_cookie_);
  std::unique_ptr<LeafTable> owned = RemoveLocked(table);
  if (!over) domain_.Retire(std::move(owned));
}

}  // namespace faultline
