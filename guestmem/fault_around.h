// How many pages one fault brings in: a window that grows on a sequential stream and is one page on
// random access. Costs per page fall 10 to 20 times between windows of 1 and of 64 pages and little
// beyond, and a window on random access is memory and time for nothing.
//
// Each leaf table carries the state of one stream, under its lock, so streams in different tables share
// nothing; a table's first fault, at its first page, asks the table before it.
#pragma once

#include <algorithm>

#include "guestmem/leaf_table.h"
#include "guestmem/types.h"

namespace faultline {

struct PageWindow {
  unsigned first = 0;
  unsigned count = 1;
  unsigned end() const { return first + count; }
};

// The window for a fault on `page` given the table's stream and the stream of the table before it (null
// when there is none). Not clipped to anything but the table.
inline PageWindow NextWindow(unsigned page, LeafTable::Stream stream, const LeafTable* previous) noexcept {
  if (page == 0 && stream.window == 0 && previous != nullptr) stream = previous->approx_stream();
  const bool follows = stream.window != 0 && page == stream.next % kPagesPerLeaf;
  const unsigned grown = follows ? stream.window * 4U : 1U;
  return {page, std::min(grown, kPagesPerLeaf - page)};
}

// The window of a fixed size around `page`, aligned to that size.
inline PageWindow FixedWindow(unsigned page, unsigned pages) noexcept {
  const unsigned first = page / pages * pages;
  return {first, std::min(pages, kPagesPerLeaf - first)};
}

}  // namespace faultline
