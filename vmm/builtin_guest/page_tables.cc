#include "vmm/builtin_guest/page_tables.h"

#include <algorithm>
#include <string>

#include "guestmem/error.h"

namespace faultline {
namespace {

// Accessed and dirty are set from the start, so that the processor never writes to the tables.
constexpr uint64_t kTableFlags = 0x27;  // present, writable, user, accessed
constexpr uint64_t kPageFlags = 0xe7;   // and dirty, large page
constexpr uint64_t kLargePage = 0x80;
constexpr uint64_t kAddressMask = 0x000ffffffffff000;
constexpr Gpa kLimit{1ULL << 47};  // the lower half of the canonical addresses

constexpr size_t SlotAt(uint64_t address, unsigned level_shift) { return (address >> level_shift) & 511; }

}  // namespace

IdentityPageTables::IdentityPageTables(Gpa base, Bytes capacity, bool gib_pages)
    : base_(base), max_tables_(capacity / kPageSize), gib_pages_(gib_pages), tables_(1) {}

size_t IdentityPageTables::Descend(size_t table, size_t slot) {
  const uint64_t entry = tables_[table][slot];
  if (entry != 0) return ((entry & kAddressMask) - base_.value) / kPageSize.value;
  if (tables_.size() == max_tables_) {
    throw UsageError("the built-in guest's page tables reach about " + std::to_string(max_tables_ - 2) +
                     " GiB of memory; ask for a smaller maximum");
  }
  tables_[table][slot] = (base_ + kPageSize * tables_.size()).value | kTableFlags;
  tables_.emplace_back();
  return tables_.size() - 1;
}

void IdentityPageTables::Map(GpaRange range) {
  if (range.size.value == 0) return;
  if (range.end() > kLimit || range.end() < range.start) {
    throw UsageError("the built-in guest reaches no memory at or above 128 TiB; ask for a smaller maximum");
  }
  const uint64_t end = AlignUp(Bytes(range.end().value), 2_MiB).value;
  uint64_t at = AlignDown(range.start, 2_MiB).value;
  while (at < end) {
    const size_t directory_pointers = Descend(0, SlotAt(at, 39));
    const size_t slot = SlotAt(at, 30);
    const uint64_t entry = tables_[directory_pointers][slot];
    const bool whole_gib = IsAligned(at, 1_GiB) && end - at >= (1_GiB).value;
    if ((entry & kLargePage) != 0 || (gib_pages_ && whole_gib && entry == 0)) {
      tables_[directory_pointers][slot] = AlignDown(Gpa(at), 1_GiB).value | kPageFlags;
      at = std::min(end, (AlignDown(Gpa(at), 1_GiB) + 1_GiB).value);
      continue;
    }
    tables_[Descend(directory_pointers, slot)][SlotAt(at, 21)] = at | kPageFlags;
    at += (2_MiB).value;
  }
}

}  // namespace faultline
