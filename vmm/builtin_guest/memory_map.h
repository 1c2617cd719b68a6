// The memory this guest has: boot memory and what is plugged in each slot; and its conversation with the
// hot-plug registers about it. vCPU 0 alone uses it.
#pragma once

#include <cstdint>

#include "vmm/builtin_guest/abi.h"

namespace faultline::guest {

enum class BlockState : uint8_t {
  kAbsent,
  kOnline,   // in use
  kEjected,  // let go of; the machine has not taken it away yet
};

// A piece of memory that comes and goes as a whole.
struct Block {
  uint64_t start = 0;
  uint64_t size = 0;
  uint32_t incarnation = 0;  // differs each time memory is plugged, anywhere; 0 for boot memory
  BlockState state = BlockState::kAbsent;
  bool busy = false;  // a running command uses it

  uint64_t end() const { return start + size; }
  bool Overlaps(uint64_t from, uint64_t to) const { return start < to && from < end(); }
};

// Blocks are numbered: 0..kMaxBootRanges-1 boot memory, then one for each hot-plug slot.
inline constexpr unsigned kFirstSlotBlock = kMaxBootRanges;
inline constexpr unsigned kMaxBlocks = kMaxBootRanges + kMaxHotplugSlots;
unsigned BlockCount();
Block& BlockAt(unsigned index);

// "boot", "dimm3".
void PutBlockName(unsigned index);

// Reads the mailbox. Before anything else here.
void InitMemoryMap();

// Looks at every slot: takes new memory into use, answers eject requests, notices what is gone. Prints a
// notice for each unless `quietly`.
void PollSlots(bool quietly = false);

// True when the machine asked the guest to end.
bool ShutdownRequested();

// Holds: stretches whose blocks are not given up on request. False when there are too many.
bool AddHold(uint64_t start, uint64_t size);
// Drops every hold that overlaps; returns how many.
unsigned ReleaseHolds(uint64_t start, uint64_t size);
bool IsHeld(const Block& block);

}  // namespace faultline::guest
