#include "vmm/machine/config.h"

#include <algorithm>
#include <bit>
#include <set>

#include "devices/memory_hotplug.h"
#include "guestmem/error.h"
#include "vmm/machine/size_text.h"

namespace faultline {
namespace {

constexpr unsigned kMaxCpus = 256;
constexpr unsigned kMaxNodes = 8;
constexpr Bytes kLowMemoryEnd = 3_GiB;
constexpr Gpa kHighMemoryStart{(4_GiB).value};
constexpr Bytes kWindowAlignment = 1_GiB;
// Far beyond what any host can back, far below where sums of it wrap around.
constexpr Bytes kMaxMemory = Bytes(1ULL << 45);

void ValidateMemory(const MemoryConfig& memory) {
  const Bytes max = memory.max.value == 0 ? memory.boot : memory.max;
  if (memory.boot < kPlugGranule) {
    throw UsageError("a VM cannot start with " + SizeText(memory.boot) + " of memory: give it at least 2 MiB");
  }
  if (!IsAligned(memory.boot, kPlugGranule)) {
    throw UsageError("boot memory of " + SizeText(memory.boot) + " is not a multiple of 2 MiB: round it");
  }
  if (memory.boot > kMaxMemory || max > kMaxMemory) {
    throw UsageError("memory of " + SizeText(std::max(memory.boot, max)) + " is more than a VM can have: ask for " +
                     SizeText(kMaxMemory) + " at most");
  }
  if (!IsAligned(max, kPlugGranule)) {
    throw UsageError("max memory of " + SizeText(max) + " is not a multiple of 2 MiB: round it");
  }
  if (max < memory.boot) {
    throw UsageError("max memory (" + SizeText(max) + ") is less than boot memory (" + SizeText(memory.boot) +
                     "): raise max or leave it out");
  }
  if (memory.slots > MemoryHotplug::kMaxSlots) {
    throw UsageError(std::to_string(memory.slots) + " memory slots are too many: ask for " +
                     std::to_string(MemoryHotplug::kMaxSlots) + " at most");
  }
  if (max > memory.boot && memory.slots == 0) {
    throw UsageError("max memory above boot memory needs slots to plug it into: add slots=N");
  }
  if (memory.slots > 0 && max == memory.boot) {
    throw UsageError("memory slots are of no use without max memory above boot memory: add max=SIZE");
  }
  if (memory.nodes == 0 || memory.nodes > kMaxNodes) {
    throw UsageError(std::to_string(memory.nodes) + " NUMA nodes make no VM: ask for 1 to " +
                     std::to_string(kMaxNodes));
  }
  if (memory.nodes > 1 && memory.slots == 0) {
    throw UsageError("further NUMA nodes are for plugged memory: add max=SIZE and slots=N, or leave nodes out");
  }
  if (memory.backing.kind == BackingKind::kFile && memory.boot > kLowMemoryEnd) {
    throw UsageError("boot memory on a file cannot exceed 3 GiB: take less, or backing=memfd");
  }
}

void ValidateVirtioMem(const MachineConfig& config) {
  std::set<std::string> ids;
  Bytes total = config.memory.max;
  for (const VirtioMemOptions& mem : config.memory.virtio_mem) {
    const std::string what = "virtio-mem '" + mem.id + "'";
    if (mem.id.empty() || !ids.insert(mem.id).second) {
      throw UsageError(what + ": each device needs an id of its own");
    }
    if (mem.size == Bytes(0) || mem.size > kMaxMemory) {
      throw UsageError(what + " cannot have " + SizeText(mem.size) + ": give it at least one block, and " +
                       SizeText(kMaxMemory) + " at most");
    }
    total += mem.size;
    const Bytes block = mem.block_size();
    if (block < kPlugGranule || !std::has_single_bit(block.value)) {
      throw UsageError(what + ": a block of " + SizeText(block) + " is not usable; choose 2 MiB, 4 MiB, 8 MiB, …");
    }
    if (!IsAligned(mem.size, block) || !IsAligned(mem.requested, block)) {
      throw UsageError(what + ": its sizes are not multiples of its block size, " + SizeText(block) + ": round them");
    }
    if (mem.requested > mem.size) {
      throw UsageError(what + " cannot start with " + SizeText(mem.requested) + ": it has " + SizeText(mem.size) +
                       " at most");
    }
    if (mem.backing.value_or(config.memory.backing).kind == BackingKind::kFile) {
      throw UsageError(what + ": a file cannot back memory that goes away: choose backing=anonymous, memfd or hugetlb");
    }
  }
  if (total > kMaxMemory) {
    throw UsageError("memory of " + SizeText(total) + " in all is more than a VM can have: ask for " +
                     SizeText(kMaxMemory) + " at most");
  }
}

}  // namespace

AutoMemoryMode ParseAutoMemoryMode(std::string_view text) {
  for (const auto mode : {AutoMemoryMode::kOff, AutoMemoryMode::kDryRun, AutoMemoryMode::kOn}) {
    if (text == ToString(mode)) return mode;
  }
  throw UsageError("'" + std::string(text.substr(0, 40)) +
                   "' is no way to resize memory automatically: choose on, dry-run or off");
}

std::string_view ToString(AutoMemoryMode mode) {
  switch (mode) {
    case AutoMemoryMode::kOff:
      return "off";
    case AutoMemoryMode::kDryRun:
      return "dry-run";
    case AutoMemoryMode::kOn:
      return "on";
  }
  return "?";
}

UnpluggedPolicy ParseUnpluggedPolicy(std::string_view text) {
  for (const auto policy : {UnpluggedPolicy::kOnes, UnpluggedPolicy::kStop, UnpluggedPolicy::kLog}) {
    if (text == ToString(policy)) return policy;
  }
  throw UsageError("'" + std::string(text) + "' is no policy for unplugged accesses: choose ones, stop or log");
}

std::string_view ToString(UnpluggedPolicy policy) {
  switch (policy) {
    case UnpluggedPolicy::kOnes:
      return "ones";
    case UnpluggedPolicy::kStop:
      return "stop";
    case UnpluggedPolicy::kLog:
      return "log";
  }
  return "";
}

void Validate(const MachineConfig& config) {
  if (config.cpus == 0 || config.cpus > kMaxCpus) {
    throw UsageError(std::to_string(config.cpus) + " CPUs make no VM: ask for 1 to " + std::to_string(kMaxCpus));
  }
  ValidateMemory(config.memory);
  ValidateVirtioMem(config);
}

Bytes VirtioMemOptions::block_size() const {
  constexpr uint64_t kMostBlocks = 2048;
  if (block.value != 0) return block;
  return std::max(kPlugGranule, Bytes(std::bit_ceil((size.value + kMostBlocks - 1) / kMostBlocks)));
}

MemoryLayout MemoryLayout::For(const MemoryConfig& config) {
  MemoryLayout layout;
  layout.low = {Gpa(0), std::min(config.boot, kLowMemoryEnd)};
  layout.high = {kHighMemoryStart, config.boot - layout.low.size};
  const Bytes max = config.max.value == 0 ? config.boot : config.max;
  layout.window = {Gpa(AlignUp(Bytes(layout.high.end().value), kWindowAlignment).value), Bytes(0)};
  layout.nodes = config.nodes;
  if (config.slots > 0) layout.window.size = max - config.boot + kPlugGranule * config.slots;
  // Each part begins where a guest's block of memory may.
  if (config.nodes > 1) {
    layout.window.size = AlignUp(Bytes(layout.window.size.value / config.nodes), kGuestBlock) * config.nodes;
  }
  Gpa end = layout.window.end();
  for (const VirtioMemOptions& mem : config.virtio_mem) {
    const Gpa start(AlignUp(Bytes(end.value), std::max(kWindowAlignment, mem.block_size())).value);
    layout.virtio_mem.push_back({start, mem.size});
    end = layout.virtio_mem.back().end();
  }
  return layout;
}

GpaRange MemoryLayout::hot_pluggable() const {
  if (virtio_mem.empty()) return window;
  return {window.start, virtio_mem.back().end() - window.start};
}

GpaRange MemoryLayout::NodeWindow(unsigned node) const {
  const Bytes part(window.size.value / nodes);
  return {window.start + part * node, part};
}

}  // namespace faultline
