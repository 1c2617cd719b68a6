// Builds the x86-64 page tables that map stretches of guest-physical memory one to one (Intel SDM vol. 3A
// §4.5). A value type for one thread; nothing here touches guest memory.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "guestmem/types.h"

namespace faultline {

class IdentityPageTables {
 public:
  using Table = std::array<uint64_t, 512>;

  // The tables will lie at `base`, one page after the other; `capacity` bytes are reserved for them.
  // `gib_pages`: use 1 GiB pages where a range covers them whole.
  IdentityPageTables(Gpa base, Bytes capacity, bool gib_pages);

  // Maps the range, widened to multiples of 2 MiB, for everybody and everything. Mapping a part twice is
  // harmless. Throws UsageError when the tables outgrow their reserve or the range lies at or above 2^47.
  void Map(GpaRange range);

  // For CR3.
  Gpa root() const { return base_; }
  // In order of address from `root` on.
  const std::vector<Table>& tables() const { return tables_; }

 private:
  // The index of the table that entry `slot` of `table` points to, made if there is none.
  size_t Descend(size_t table, size_t slot);

  const Gpa base_;
  const uint64_t max_tables_;
  const bool gib_pages_;
  std::vector<Table> tables_;
};

}  // namespace faultline
