// The guest's memory map as a PC's firmware hands it to a kernel ("e820", ACPI 6.5 §15).
#pragma once

#include <cstdint>
#include <vector>

#include "guestmem/types.h"

namespace faultline {

enum class MemoryType : uint32_t { kRam = 1, kReserved = 2 };

struct MemoryMapEntry {
  GpaRange range;
  MemoryType type = MemoryType::kRam;
  friend bool operator==(const MemoryMapEntry&, const MemoryMapEntry&) = default;
};

// In ascending order and without overlaps: `reserved`, what a PC reserves between 639 KiB and 1 MiB, and what these
// leave of `ram`. Ranges of `reserved` may overlap each other and lie outside of RAM.
std::vector<MemoryMapEntry> BuildMemoryMap(const std::vector<GpaRange>& ram, const std::vector<GpaRange>& reserved);

}  // namespace faultline
