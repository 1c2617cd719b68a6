// The shadow of one 2 MiB stretch of guest memory: which of its 512 pages are at the host.
//
// Owned by the shadow table it is linked in, or by the limbo, or by RCU on its way to the heap. A table
// outlives the region it served: it may be taken over by a later one, so whoever found it speculatively
// locks it first and then asks whether it still is what was looked for.
//
// The lock confers the right to read and change everything below it, and to install pages of this
// stretch that need no waiting. Its holder never waits for an unplug, a slot deletion or a page source.
//
// Page states: Absent (neither bit), Filling (someone is bringing it, or it waits for a retry), Present.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>

#include "guestmem/mutex.h"
#include "guestmem/rcu_domain.h"
#include "guestmem/types.h"

namespace faultline {

class Region;

using LeafMutex = RankedMutex<LockRank::kLeaf>;

// One bit a page.
class PageBitmap {
 public:
  bool Test(unsigned page) const noexcept { return ((words_[page / 64] >> (page % 64)) & 1) != 0; }
  void Set(unsigned page) noexcept { words_[page / 64] |= uint64_t{1} << (page % 64); }
  void Clear(unsigned page) noexcept { words_[page / 64] &= ~(uint64_t{1} << (page % 64)); }
  void ClearAll() noexcept { words_.fill(0); }
  unsigned Count() const noexcept {
    unsigned n = 0;
    for (const uint64_t w : words_) n += static_cast<unsigned>(std::popcount(w));
    return n;
  }

 private:
  std::array<uint64_t, kPagesPerLeaf / 64> words_{};
};

// Counts of tables over their whole life, shared by all tables of one GuestMemory. Touched only when a
// table is made, freed, linked or unlinked.
struct TableCounters {
  std::atomic<uint64_t> allocated{0};
  std::atomic<uint64_t> recycled{0};
  std::atomic<uint64_t> freed{0};
  std::atomic<uint64_t> live{0};
  // Generations are drawn here, so no two incarnations of any table ever share one.
#ifdef NDEBUG
  std::atomic<uint64_t> next_generation{1};
#else
  std::atomic<uint64_t> next_generation{UINT64_MAX - 100};
#endif
};

class LeafTable final : public RcuObject {
 public:
  explicit LeafTable(TableCounters& counters) noexcept : counters_(counters) {
    counters_.allocated.fetch_add(1, std::memory_order_relaxed);
  }
  ~LeafTable() override { counters_.freed.fetch_add(1, std::memory_order_relaxed); }

  LeafMutex& lock() RETURN_CAPABILITY(lock_) { return lock_; }

  // Makes the table serve `owner` for the stretch at `base`, under a generation of its own. It must be
  // empty.
  void AdoptLocked(const Region* owner, Gpa base) noexcept REQUIRES(lock_);
  // Ends its service: no owner, no pages, and a generation nobody has seen.
  void RetireServiceLocked() noexcept REQUIRES(lock_);
  // Hands the table with its contents to another incarnation of the same memory (a rolled-back unplug).
  // Pages that were being filled are Absent again.
  void TransferLocked(const Region* owner) noexcept REQUIRES(lock_);

  bool ServesLocked(const Region* owner, uint64_t generation) const noexcept REQUIRES(lock_) {
    return owner_ == owner && generation_.load(std::memory_order_relaxed) == generation;
  }
  // The generation before the lock is taken. It may be stale at once: ServesLocked finds out.
  uint64_t approx_generation() const noexcept { return generation_.load(std::memory_order_acquire); }

  bool PresentLocked(unsigned page) const noexcept REQUIRES(lock_) { return present_.Test(page); }
  bool FillingLocked(unsigned page) const noexcept REQUIRES(lock_) { return filling_.Test(page); }
  bool AbsentLocked(unsigned page) const noexcept REQUIRES(lock_) {
    return !present_.Test(page) && !filling_.Test(page);
  }
  void SetPresentLocked(unsigned page) noexcept REQUIRES(lock_) {
    if (!present_.Test(page)) {
      // One writer at a time: no read-modify-write needed.
      population_.store(static_cast<uint16_t>(population_.load(std::memory_order_relaxed) + 1),
                        std::memory_order_relaxed);
    }
    present_.Set(page);
    filling_.Clear(page);
  }
  // The host has the page back.
  void ClearPresentLocked(unsigned page) noexcept REQUIRES(lock_) {
    if (present_.Test(page)) {
      population_.store(static_cast<uint16_t>(population_.load(std::memory_order_relaxed) - 1),
                        std::memory_order_relaxed);
    }
    present_.Clear(page);
  }
  void SetFillingLocked(unsigned page) noexcept REQUIRES(lock_) { filling_.Set(page); }
  void SetAbsentLocked(unsigned page) noexcept REQUIRES(lock_) { filling_.Clear(page); }
  unsigned population_locked() const noexcept REQUIRES(lock_) { return population_; }
  bool AnyFillingLocked() const noexcept REQUIRES(lock_) { return filling_.Count() != 0; }
  PageBitmap filling_locked() const noexcept REQUIRES(lock_) { return filling_; }

  // Present pages, read without the lock: for reports.
  unsigned approx_population() const noexcept { return population_; }

  Gpa base() const noexcept { return base_; }

  // Where a sequential stream would go on, and how many pages the last fault of this table brought.
  // Read by the next table's first fault without the lock: a stale value costs one narrow window.
  struct alignas(4) Stream {
    uint16_t next = 0;
    uint16_t window = 0;
  };
  Stream approx_stream() const noexcept { return stream_.load(std::memory_order_relaxed); }
  void SetStreamLocked(Stream s) noexcept REQUIRES(lock_) { stream_.store(s, std::memory_order_relaxed); }

 private:
  friend class TableLimbo;

  void DrawGeneration() noexcept REQUIRES(lock_) {
    generation_.store(counters_.next_generation.fetch_add(1, std::memory_order_relaxed), std::memory_order_release);
  }

  LeafMutex lock_;
  const Region* owner_ GUARDED_BY(lock_) = nullptr;
  std::atomic<uint64_t> generation_{0};  // written under lock_
  std::atomic<uint16_t> population_{0};  // written under lock_
  std::atomic<Stream> stream_{};         // written under lock_
  Gpa base_;                             // changes only while no reader can hold the table
  PageBitmap present_ GUARDED_BY(lock_);
  PageBitmap filling_ GUARDED_BY(lock_);

  // In limbo, under the limbo's lock.
  LeafTable* limbo_chain_ = nullptr;
  LeafTable* limbo_older_ = nullptr;
  LeafTable* limbo_newer_ = nullptr;
  RcuDomain::Cookie limbo_cookie_ = 0;
  std::chrono::steady_clock::time_point limbo_since_;

  TableCounters& counters_;
};

}  // namespace faultline
