#include "vmm/machine/config.h"

#include <algorithm>

#include "devices/memory_hotplug.h"
#include "guestmem/error.h"
#include "vmm/machine/size_text.h"

namespace faultline {
namespace {

constexpr unsigned kMaxCpus = 256;
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
  if (memory.backing.kind == BackingKind::kFile && memory.boot > kLowMemoryEnd) {
    throw UsageError("boot memory on a file cannot exceed 3 GiB: take less, or backing=memfd");
  }
}

}  // namespace

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
}

MemoryLayout MemoryLayout::For(const MemoryConfig& config) {
  MemoryLayout layout;
  layout.low = {Gpa(0), std::min(config.boot, kLowMemoryEnd)};
  layout.high = {kHighMemoryStart, config.boot - layout.low.size};
  const Bytes max = config.max.value == 0 ? config.boot : config.max;
  layout.window = {Gpa(AlignUp(Bytes(layout.high.end().value), kWindowAlignment).value), Bytes(0)};
  if (config.slots > 0) layout.window.size = max - config.boot + kPlugGranule * config.slots;
  return layout;
}

}  // namespace faultline
