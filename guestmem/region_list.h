// A sorted list of address ranges that is looked up speculatively and replaced as a whole.
//
// Readers, inside an RCU read section, do one acquire load and a binary search: no lock, no reference
// count, no store. One writer at a time (the owner's control lock) prepares a new immutable snapshot,
// which may throw, and commits it, which may not; the old one is retired.
//
// Argument. The release store in Commit pairs with the acquire load in Lookup, so whoever sees a
// snapshot sees it complete; it never changes afterwards, and RcuDomain's P1 keeps it alive for as long
// as the reader's section. What a lookup returns may be out of date by the time it is used: that is the
// speculation, which the fault protocol validates under the leaf lock.
#pragma once

#include <algorithm>
#include <atomic>
#include <cassert>
#include <memory>
#include <vector>

#include "guestmem/rcu_domain.h"
#include "guestmem/types.h"

namespace faultline {

// `A` is the address type, `T` what a range stands for (not owned).
template <class A, class T>
class RegionList {
 public:
  struct Entry {
    Range<A> range;
    T* value = nullptr;
  };

  class Snapshot final : public RcuObject {
   private:
    friend class RegionList;
    // Starts apart from the rest: the search touches nothing else.
    std::vector<uint64_t> starts_;
    std::vector<Entry> entries_;
  };

  explicit RegionList(RcuDomain& domain) : domain_(domain), current_(new Snapshot) {}
  ~RegionList() { delete current_.load(std::memory_order_relaxed); }
  RegionList(const RegionList&) = delete;
  RegionList& operator=(const RegionList&) = delete;

  // The entry whose range contains `address`, or null. Read section required for the call and for as long
  // as the result is used. O(log n).
  const Entry* Lookup(A address) const noexcept {
    const Snapshot* s = current_.load(std::memory_order_acquire);  // pairs with Commit
    const uint64_t* base = s->starts_.data();
    size_t n = s->starts_.size();
    if (n == 0) return nullptr;
    while (n > 1) {
      const size_t half = n / 2;
      base += base[half] <= address.value ? half : 0;  // compiles to a conditional move
      n -= half;
    }
    const Entry* entry = &s->entries_[static_cast<size_t>(base - s->starts_.data())];
    return entry->range.Contains(address) ? entry : nullptr;
  }

  // The first entry with an address at or behind `address`, or null. As Lookup otherwise.
  const Entry* LookupFrom(A address) const noexcept {
    const Snapshot* s = current_.load(std::memory_order_acquire);  // pairs with Commit
    const auto behind = std::upper_bound(s->starts_.begin(), s->starts_.end(), address.value);
    auto at = static_cast<size_t>(behind - s->starts_.begin());
    if (at > 0 && s->entries_[at - 1].range.Contains(address)) --at;
    return at < s->entries_.size() ? &s->entries_[at] : nullptr;
  }

  // Writers only, as are the rest.
  std::unique_ptr<Snapshot> PrepareInsert(Range<A> range, T* value) const {
    const auto& old = current_.load(std::memory_order_relaxed)->entries_;
    auto next = std::make_unique<Snapshot>();
    next->entries_.reserve(old.size() + 1);
    const auto at = std::find_if(old.begin(), old.end(), [&](const Entry& e) { return e.range.start > range.start; });
    next->entries_.assign(old.begin(), at);
    next->entries_.push_back({range, value});
    next->entries_.insert(next->entries_.end(), at, old.end());
    Index(*next);
    return next;
  }
  std::unique_ptr<Snapshot> PrepareErase(const T* value) const {
    auto next = std::make_unique<Snapshot>();
    next->entries_.reserve(size());
    for (const Entry& e : entries()) {
      if (e.value != value) next->entries_.push_back(e);
    }
    Index(*next);
    return next;
  }
  std::unique_ptr<Snapshot> PrepareReplace(const T* old_value, T* new_value) const {
    auto next = std::make_unique<Snapshot>();
    next->entries_ = entries();
    for (Entry& e : next->entries_) {
      if (e.value == old_value) e.value = new_value;
    }
    Index(*next);
    return next;
  }
  void Commit(std::unique_ptr<Snapshot> next) noexcept {
    std::unique_ptr<Snapshot> old(current_.load(std::memory_order_relaxed));
    current_.store(next.release(), std::memory_order_release);  // pairs with Lookup
    domain_.Retire(std::move(old));
  }

  const std::vector<Entry>& entries() const { return current_.load(std::memory_order_relaxed)->entries_; }
  size_t size() const { return entries().size(); }
  // The first entry that overlaps `range`, or null.
  const Entry* FindOverlap(Range<A> range) const {
    for (const Entry& e : entries()) {
      if (e.range.Overlaps(range)) return &e;
    }
    return nullptr;
  }

 private:
  static void Index(Snapshot& s) {
    s.starts_.reserve(s.entries_.size());
    for (const Entry& e : s.entries_) {
      assert((s.starts_.empty() || s.starts_.back() < e.range.start.value) && "ranges must be sorted and distinct");
      s.starts_.push_back(e.range.start.value);
    }
  }

  RcuDomain& domain_;
  std::atomic<Snapshot*> current_;
};

}  // namespace faultline
