#include "vmm/machine/memory_device_table.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "guestmem/error.h"
#include "vmm/machine/size_text.h"

namespace faultline {
namespace {

std::string HexText(Gpa gpa) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(gpa.value));
  return text.data();
}

std::string Memory(const std::string& id) { return "memory '" + id + "'"; }

}  // namespace

MemoryDeviceTable::MemoryDeviceTable(const MemoryConfig& config, const MemoryLayout& layout)
    : config_(config), layout_(layout) {}

MemoryDevice& MemoryDeviceTable::Reserve(const PlugRequest& request) {
  if (request.id.empty()) throw UsageError("memory to plug needs a name: give it an id");
  if (request.id == kBootRegion || request.id == kHighBootRegion) {
    throw UsageError("'" + request.id + "' names memory the VM started with: choose another id");
  }
  if (std::ranges::find(config_.virtio_mem, request.id, &VirtioMemOptions::id) != config_.virtio_mem.end()) {
    throw UsageError("'" + request.id + "' names a virtio-mem device of the VM: choose another id");
  }
  if (devices_.count(request.id) != 0) {
    throw UsageError(Memory(request.id) + " is plugged already: choose another id or unplug it first");
  }
  MemoryDevice device;
  device.id = request.id;
  device.backing = request.backing.value_or(config_.backing);
  CheckSize(request);
  CheckBacking(request, device.backing);
  if (request.node >= config_.nodes) {
    throw UsageError("NUMA node " + std::to_string(request.node) + " does not exist: this VM has " +
                     (config_.nodes == 1 ? "node 0 alone; start it with nodes=N for more"
                                         : "nodes 0 to " + std::to_string(config_.nodes - 1)));
  }
  device.slot = ChooseSlot(request);
  device.node = request.node;
  device.hotplugged = request.hotplugged;
  device.gpa = {ChooseAddress(request), request.size};
  return devices_.emplace(request.id, std::move(device)).first->second;
}

void MemoryDeviceTable::CheckSize(const PlugRequest& request) const {
  if (config_.slots == 0) {
    throw UsageError("this VM has no room to plug memory into: start it with --memory SIZE,max=SIZE,slots=N");
  }
  if (request.size.value == 0) throw UsageError("a size of zero plugs nothing: ask for 2 MiB or more");
  if (!IsAligned(request.size, kPlugGranule)) {
    throw UsageError("a size of " + SizeText(request.size) + " cannot be plugged: make it a multiple of 2 MiB");
  }
  const Bytes room = config_.max - config_.boot - Plugged();
  if (request.size > room) {
    throw UsageError(SizeText(request.size) + " more memory would exceed the VM's maximum of " + SizeText(config_.max) +
                     ": ask for " + SizeText(room) + " at most, or start the VM with a larger max");
  }
}

void MemoryDeviceTable::CheckBacking(const PlugRequest& request, const BackingSpec& backing) const {
  if (backing.kind != BackingKind::kFile) return;
  if (!request.backing) {
    throw UsageError("memory on a file needs a file of its own: give " + Memory(request.id) + " a backing");
  }
  const auto taken = [&](const BackingSpec& other) {
    return other.kind == BackingKind::kFile && other.path == backing.path;
  };
  if (taken(config_.backing) ||
      std::any_of(devices_.begin(), devices_.end(), [&](const auto& entry) { return taken(entry.second.backing); })) {
    throw UsageError("the file '" + backing.path + "' backs other memory of this VM already: choose another one");
  }
}

unsigned MemoryDeviceTable::ChooseSlot(const PlugRequest& request) const {
  std::vector<bool> taken(config_.slots, false);
  for (const auto& [id, device] : devices_) taken[device.slot] = true;
  if (request.slot) {
    if (*request.slot >= config_.slots) {
      throw UsageError("memory slot " + std::to_string(*request.slot) + " does not exist: this VM has slots 0 to " +
                       std::to_string(config_.slots - 1));
    }
    if (taken[*request.slot]) {
      throw UsageError("memory slot " + std::to_string(*request.slot) + " is taken: choose another or none");
    }
    return *request.slot;
  }
  const auto free = std::find(taken.begin(), taken.end(), false);
  if (free == taken.end()) {
    throw UsageError("all " + std::to_string(config_.slots) +
                     " memory slots are taken: unplug some memory, or start the VM with more slots");
  }
  return static_cast<unsigned>(free - taken.begin());
}

Gpa MemoryDeviceTable::ChooseAddress(const PlugRequest& request) const {
  std::vector<GpaRange> taken;
  taken.reserve(devices_.size());
  for (const auto& [id, device] : devices_) taken.push_back(device.gpa);
  std::sort(taken.begin(), taken.end(), [](GpaRange a, GpaRange b) { return a.start < b.start; });

  if (request.address) {
    const auto range = GpaRange::Make(*request.address, request.size);
    if (!IsAligned(*request.address, kPlugGranule)) {
      throw UsageError("address " + HexText(*request.address) + " is not a multiple of 2 MiB: round it");
    }
    if (!range || !layout_.window.Contains(*range)) {
      throw UsageError("address " + HexText(*request.address) +
                       " lies outside the window for plugged memory: stay in " + HexText(layout_.window.start) +
                       " to " + HexText(layout_.window.end()));
    }
    for (const auto& [id, device] : devices_) {
      if (device.gpa.Overlaps(*range)) {
        throw UsageError("address " + HexText(*request.address) + " overlaps " + Memory(id) + " at " +
                         HexText(device.gpa.start) + ": choose another or none");
      }
    }
    return *request.address;
  }
  // Where a guest with blocks of memory takes it, and in its node's part of the window, if that is possible.
  const auto gap = [&](GpaRange within, Bytes alignment) -> std::optional<Gpa> {
    Gpa at(AlignUp(Bytes(within.start.value), alignment).value);
    for (const GpaRange& range : taken) {
      if (range.end() <= at) continue;
      if (range.start >= at && range.start - at >= request.size) break;
      at = Gpa(AlignUp(Bytes(range.end().value), alignment).value);
    }
    const auto found = GpaRange::Make(at, request.size);
    return found && within.Contains(*found) ? std::optional(at) : std::nullopt;
  };
  const Bytes alignment = IsAligned(request.size, kGuestBlock) ? kGuestBlock : kPlugGranule;
  if (const auto at = gap(layout_.NodeWindow(request.node), alignment)) return *at;
  if (const auto at = gap(layout_.window, alignment)) return *at;
  if (const auto at = gap(layout_.window, kPlugGranule)) return *at;
  throw UsageError("no gap of " + SizeText(request.size) +
                   " is left between plugged memory: plug smaller pieces or unplug some first");
}

Bytes MemoryDeviceTable::Plugged() const {
  Bytes sum;
  for (const auto& [id, device] : devices_) sum += device.gpa.size;
  return sum;
}

MemoryDevice* MemoryDeviceTable::Find(const std::string& id) {
  const auto it = devices_.find(id);
  return it == devices_.end() ? nullptr : &it->second;
}

MemoryDevice* MemoryDeviceTable::FindSlot(unsigned slot) {
  for (auto& [id, device] : devices_) {
    if (device.slot == slot && device.phase != MemoryDevice::Phase::kPlugging) return &device;
  }
  return nullptr;
}

}  // namespace faultline
