#include "vmm/builtin_guest/range.h"

#include "vmm/builtin_guest/console.h"
#include "vmm/builtin_guest/memory_access.h"
#include "vmm/builtin_guest/memory_map.h"

namespace faultline::guest {
namespace {

// What a range selects: blocks [first_block, last_block], as far as they lie in [start, end).
struct Selection {
  unsigned first_block = 0;
  unsigned last_block = 0;
  uint64_t start = 0;
  uint64_t end = ~uint64_t{0};
  bool must_cover_all = false;  // every byte of [start, end) has to be memory in use
};

bool ParseDigits(Text text, unsigned base, uint64_t& value) {
  if (text.empty()) return false;
  value = 0;
  for (const char c : text) {
    unsigned digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<unsigned>(c - '0');
    } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
      digit = static_cast<unsigned>((c | 0x20) - 'a') + 10;
    } else {
      return false;
    }
    if (digit >= base || value > (~uint64_t{0} - digit) / base) return false;
    value = value * base + digit;
  }
  return true;
}

bool SelectSlot(Text digits, Selection& selection) {
  uint64_t slot = 0;
  if (!ParseDigits(digits, 10, slot)) return false;
  if (slot >= BlockCount() - kFirstSlotBlock) {
    PrintLine("error: there is no slot ", slot, "; this machine has ", BlockCount() - kFirstSlotBlock);
    return false;
  }
  selection.first_block = selection.last_block = kFirstSlotBlock + static_cast<unsigned>(slot);
  if (BlockAt(selection.first_block).state != BlockState::kOnline) {
    PrintLine("error: dimm", slot, " holds no memory; `mem` shows what there is");
    return false;
  }
  return true;
}

bool SelectAddresses(Text text, size_t plus, Selection& selection) {
  uint64_t size = 0;
  if (!ParseNumber(text.First(plus), selection.start) || !ParseNumber(text.DropFirst(plus + 1), size)) {
    PrintLine("error: ", text, " is no range; write it like 0x140000000+64M");
    return false;
  }
  if (selection.start % kPageBytes != 0 || size % kPageBytes != 0 || size == 0) {
    PrintLine("error: ", text, " is not made of whole 4K pages");
    return false;
  }
  if (selection.start + size < selection.start) {
    PrintLine("error: ", text, " reaches past the end of the address space");
    return false;
  }
  selection.end = selection.start + size;
  selection.last_block = BlockCount() - 1;
  selection.must_cover_all = true;
  return true;
}

bool Select(Text text, Selection& selection) {
  if (text.empty()) {
    PrintLine("error: which memory? Give dimm0, boot, all, or an address and size like 0x140000000+64M");
    return false;
  }
  if (text == "all") {
    selection.last_block = BlockCount() - 1;
    return true;
  }
  if (text == "boot") {
    selection.last_block = kFirstSlotBlock - 1;
    return true;
  }
  if (const size_t plus = text.Find('+'); plus != text.size()) return SelectAddresses(text, plus, selection);
  const Text digits = text.StartsWith("dimm") ? text.DropFirst(4) : text;
  uint64_t ignored = 0;
  if (!ParseDigits(digits, 10, ignored)) {
    PrintLine("error: ", text, " is no range; try dimm0, boot, all, or 0x140000000+64M");
    return false;
  }
  return SelectSlot(digits, selection);
}

// The part of block `index` that is selected; size 0 when none is.
Piece PieceOf(unsigned index, const Selection& selection) {
  const Block& block = BlockAt(index);
  if (block.state != BlockState::kOnline || !block.Overlaps(selection.start, selection.end)) return {};
  const uint64_t from = block.start > selection.start ? block.start : selection.start;
  const uint64_t to = block.end() < selection.end ? block.end() : selection.end;
  return {index, block.incarnation, from, to - from};
}

}  // namespace

bool ParseNumber(Text text, uint64_t& value) {
  const bool hex = text.StartsWith("0x") || text.StartsWith("0X");
  if (hex) return ParseDigits(text.DropFirst(2), 16, value);
  unsigned shift = 0;
  if (!text.empty()) {
    switch (text.back() | 0x20) {
      case 'k':
        shift = 10;
        break;
      case 'm':
        shift = 20;
        break;
      case 'g':
        shift = 30;
        break;
      default:
        break;
    }
  }
  if (shift != 0) text = text.First(text.size() - 1);
  if (!ParseDigits(text, 10, value) || value > ~uint64_t{0} >> shift) return false;
  value <<= shift;
  return true;
}

bool ForEachPiece(Text range, PieceVisitor visit, void* context) {
  Selection selection;
  if (!Select(range, selection)) return false;
  uint64_t covered = 0;
  for (unsigned i = selection.first_block; i <= selection.last_block; ++i) covered += PieceOf(i, selection).size;
  if (covered == 0 || (selection.must_cover_all && covered != selection.end - selection.start)) {
    PrintLine("error: ", range, " is not memory in use; `mem` shows what is");
    return false;
  }
  for (unsigned i = selection.first_block; i <= selection.last_block; ++i) {
    const Piece piece = PieceOf(i, selection);
    if (piece.size != 0) visit(piece, context);
  }
  return true;
}

}  // namespace faultline::guest
