// The RANGE argument of commands: `dimm3` or `3`, `boot`, `0x140000000+64M`, `all`.
#pragma once

#include <cstdint>

#include "vmm/builtin_guest/text.h"

namespace faultline::guest {

// A stretch of one block.
struct Piece {
  unsigned block;
  uint32_t incarnation;
  uint64_t start;
  uint64_t size;
};

// "4096", "0x1000", "64K", "64M", "1G". False when it is no number or does not fit.
bool ParseNumber(Text text, uint64_t& value);

// Calls `visit` for each piece of a block that the range covers, in order of block number. False, with a line
// printed that says why, when the range is malformed, not page-aligned, or covers anything but memory in use.
// Nothing is visited then.
using PieceVisitor = void (*)(const Piece& piece, void* context);
bool ForEachPiece(Text range, PieceVisitor visit, void* context);

}  // namespace faultline::guest
