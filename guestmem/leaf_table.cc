#include "guestmem/leaf_table.h"

#include <cassert>

namespace faultline {

void LeafTable::AdoptLocked(const Region* owner, Gpa base) noexcept {
  // The counter proves it: nothing of an earlier incarnation can be readable through this table (I2).
  assert(population_ == 0 && filling_.Count() == 0 && "a table must be empty when it is taken over");
  assert(owner_ == nullptr && "a table has one owner");
  owner_ = owner;
  if (base_ != base) base_ = base;  // unchanged on a take-back, when stale faults may still read it
  stream_.store({}, std::memory_order_relaxed);
  DrawGeneration();
}

void LeafTable::RetireServiceLocked() noexcept {
  owner_ = nullptr;
  present_.ClearAll();
  filling_.ClearAll();
  population_ = 0;
  DrawGeneration();
}

void LeafTable::TransferLocked(const Region* owner) noexcept {
  owner_ = owner;
  filling_.ClearAll();
  DrawGeneration();
}

}  // namespace faultline
