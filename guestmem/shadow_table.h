// The shadow page table of one region: a two-level radix tree from guest-physical page to page state.
//
// The upper level, the directory, has one slot for each 2 MiB stretch (8 bytes; 4 KiB a GiB) and is as
// old as the region; leaves come with the first fault in their stretch. Owned by a region, or by two
// in a row when an unplug is rolled back.
//
// Linking against scanning. A fault that found no leaf brings a new one; an unplug marks the region dead
// and then unlinks every leaf. Without care the fault could link a leaf that the scan has passed: pages
// charged to nobody. Both sides take the same link lock:
//   L1  Link looks at the dead mark and stores the slot inside one critical section of the slot's link lock.
//   L2  The unplug stores the dead mark before it enters any critical section of the scan.
//   L3  Detach empties the slot inside a critical section of the same lock.
// If Link's section comes before Detach's, Detach sees the new leaf and takes it. If it comes after, L2
// and the lock's ordering make the dead mark visible to Link, which bails. This guarantees that after
// the scan no leaf is linked and none will be.
//
// Find is speculative: an acquire load, valid inside a read section.
#pragma once

#include <atomic>
#include <memory>

#include "guestmem/leaf_table.h"
#include "guestmem/mutex.h"
#include "guestmem/types.h"

namespace faultline {

class ShadowTable {
 public:
  // Throws std::bad_alloc.
  ShadowTable(GpaRange range, TableCounters& counters);
  // Nobody may reach the table any more. Frees leaves that are still linked.
  ~ShadowTable();

  size_t leaf_count() const { return leaves_; }
  size_t IndexOf(Gpa gpa) const { return (gpa - first_) / kLeafSpan; }
  Gpa BaseOf(size_t index) const { return first_ + kLeafSpan * index; }

  LeafTable* Find(size_t index) const noexcept {
    return slots_[index].load(std::memory_order_acquire);  // pairs with the release in Link
  }

  struct Linked {
    LeafTable* leaf = nullptr;         // what stands in the slot now; null when the region is dead
    std::unique_ptr<LeafTable> spare;  // `fresh`, when it was not needed
  };
  // Puts `fresh` into an empty slot unless `owner` has died; another fault's leaf wins if it came first.
  Linked Link(size_t index, std::unique_ptr<LeafTable> fresh, const Region& owner) noexcept;

  // Empties the slot. The caller has marked the owner dead.
  std::unique_ptr<LeafTable> Detach(size_t index) noexcept;

 private:
  // One lock for each GiB: taken once per 2 MiB of first faults, and by the scan.
  static constexpr size_t kSlotsPerLock = 512;
  using LinkMutex = RankedMutex<LockRank::kLink>;
  LinkMutex& LockOf(size_t index) noexcept { return link_locks_[index / kSlotsPerLock]; }

  const Gpa first_;
  const size_t leaves_;
  TableCounters& counters_;
  std::unique_ptr<std::atomic<LeafTable*>[]> slots_;  // stored under the slot's link lock
  std::unique_ptr<LinkMutex[]> link_locks_;
};

}  // namespace faultline
