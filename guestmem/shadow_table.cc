#include "guestmem/shadow_table.h"

#include "guestmem/region.h"

namespace faultline {

ShadowTable::ShadowTable(GpaRange range, TableCounters& counters)
    : first_(AlignDown(range.start, kLeafSpan)),
      leaves_(AlignUp(range.end() - first_, kLeafSpan) / kLeafSpan),
      counters_(counters),
      slots_(new std::atomic<LeafTable*>[leaves_]()),
      link_locks_(new LinkMutex[(leaves_ + kSlotsPerLock - 1) / kSlotsPerLock]) {}

ShadowTable::~ShadowTable() {
  for (size_t i = 0; i < leaves_; ++i) {
    if (LeafTable* leaf = slots_[i].load(std::memory_order_relaxed)) {
      counters_.live.fetch_sub(1, std::memory_order_relaxed);
      delete leaf;
    }
  }
}

ShadowTable::Linked ShadowTable::Link(size_t index, std::unique_ptr<LeafTable> fresh, const Region& owner) noexcept {
  LinkMutex& lock = LockOf(index);
  MutexLock<LinkMutex> guard(lock);
  if (owner.life() != RegionLife::kLive) return {nullptr, std::move(fresh)};  // L1
  if (LeafTable* winner = slots_[index].load(std::memory_order_relaxed)) return {winner, std::move(fresh)};
  {
    MutexLock<LeafMutex> leaf_guard(fresh->lock());
    fresh->AdoptLocked(&owner, BaseOf(index));
  }
  LeafTable* leaf = fresh.release();
  slots_[index].store(leaf, std::memory_order_release);  // pairs with Find
  counters_.live.fetch_add(1, std::memory_order_relaxed);
  return {leaf, nullptr};
}

std::unique_ptr<LeafTable> ShadowTable::Detach(size_t index) noexcept {
  LinkMutex& lock = LockOf(index);
  MutexLock<LinkMutex> guard(lock);
  std::unique_ptr<LeafTable> leaf(slots_[index].load(std::memory_order_relaxed));
  if (leaf == nullptr) return nullptr;
  slots_[index].store(nullptr, std::memory_order_relaxed);
  counters_.live.fetch_sub(1, std::memory_order_relaxed);
  return leaf;
}

}  // namespace faultline
