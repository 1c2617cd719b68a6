#include "vmm/boot/memory_map.h"

#include <algorithm>

namespace faultline {
namespace {

// Extended BIOS data area, video memory and ROMs.
constexpr GpaRange kPcReserved{Gpa(0x9fc00), Bytes(0x100000 - 0x9fc00)};

// Ascending, non-empty, overlapping and adjacent ones joined.
std::vector<GpaRange> Joined(std::vector<GpaRange> ranges) {
  std::erase_if(ranges, [](const GpaRange& range) { return range.size.value == 0; });
  std::ranges::sort(ranges, {}, &GpaRange::start);
  std::vector<GpaRange> joined;
  for (const GpaRange& range : ranges) {
    if (!joined.empty() && range.start <= joined.back().end()) {
      joined.back().size = std::max(joined.back().end(), range.end()) - joined.back().start;
    } else {
      joined.push_back(range);
    }
  }
  return joined;
}

}  // namespace

std::vector<MemoryMapEntry> BuildMemoryMap(const std::vector<GpaRange>& ram, const std::vector<GpaRange>& reserved) {
  std::vector<GpaRange> taken = reserved;
  taken.push_back(kPcReserved);
  taken = Joined(std::move(taken));
  std::vector<MemoryMapEntry> map;
  for (const GpaRange& range : taken) map.push_back({range, MemoryType::kReserved});
  for (const GpaRange& range : Joined(ram)) {
    Gpa at = range.start;
    for (const GpaRange& hole : taken) {
      if (!hole.Overlaps({at, range.end() - at})) continue;
      if (hole.start > at) map.push_back({{at, hole.start - at}, MemoryType::kRam});
      at = std::min(hole.end(), range.end());
    }
    if (at < range.end()) map.push_back({{at, range.end() - at}, MemoryType::kRam});
  }
  std::ranges::sort(map, {}, [](const MemoryMapEntry& entry) { return entry.range.start; });
  return map;
}

}  // namespace faultline
