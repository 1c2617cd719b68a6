#include "vmm/machine/plugged_memory.h"

#include <algorithm>
#include <new>
#include <system_error>
#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

std::string Memory(const std::string& id) { return "memory '" + id + "'"; }

}  // namespace

PluggedMemory::PluggedMemory(GuestMemory& memory, const MemoryConfig& config, const MemoryLayout& layout,
                             std::function<void()> wake, const MachineEventSink& sink)
    : memory_(&memory), wake_(std::move(wake)), sink_(&sink), registers_(config.slots, *this), table_(config, layout) {}

PluggedMemory::~PluggedMemory() { Close(); }

void PluggedMemory::Close() {
  std::thread worker;
  {
    MutexLock lock(mutex_);
    cancelled_ = true;
    closing_ = true;
    changed_.NotifyAll();
    worker = std::move(worker_);
  }
  if (worker.joinable()) worker.join();
}

void PluggedMemory::CheckOpenLocked() const {
  if (cancelled_) throw UsageError("the VM has ended: its memory cannot be changed any more");
}

void PluggedMemory::StartWorkerLocked() {
  if (worker_.joinable()) return;
  try {
    worker_ = std::thread([this] { Work(); });
  } catch (const std::system_error& e) {
    throw Error("the host gave no thread to manage plugged memory (" + ErrnoText(e.code().value()) +
                "): raise the limit on processes (ulimit -u)");
  }
}

MemoryDeviceInfo PluggedMemory::Plug(const PlugRequest& request) {
  RegionSpec spec;
  unsigned slot = 0;
  {
    MutexLock lock(mutex_);
    CheckOpenLocked();
    StartWorkerLocked();
    const MemoryDevice& device = table_.Reserve(request);
    slot = device.slot;
    spec.gpa = device.gpa;
    spec.backing = device.backing;
  }
  std::optional<RegionId> region;
  try {
    spec.name = request.id;
    spec.source = request.source;
    region = memory_->Plug(spec);
    MutexLock lock(mutex_);
    MemoryDevice& device = *table_.Find(request.id);
    device.region = *region;
    device.phase = MemoryDevice::Phase::kPlugged;
    // Under the lock, so that the guest's answers find the device plugged.
    registers_.Insert(slot, spec.gpa, request.node);
  } catch (const std::exception& e) {
    if (region) memory_->Unplug(*region);
    {
      MutexLock lock(mutex_);
      table_.Erase(request.id);
    }
    if (dynamic_cast<const std::bad_alloc*>(&e) == nullptr) throw;
    throw Error("the host is out of memory: " + Memory(request.id) +
                " was not plugged; free some memory and try again");
  }
  Emit(MemoryPluggedEvent{request.id, slot, spec.gpa});
  MemoryDeviceInfo info;
  info.id = request.id;
  info.slot = slot;
  info.node = request.node;
  info.gpa = spec.gpa;
  info.backing = spec.backing;
  return info;
}

uint64_t PluggedMemory::Unplug(const UnplugRequest& request, Machine::UnplugDone done) {
  MutexLock lock(mutex_);
  CheckOpenLocked();
  if (request.id == kBootRegion || request.id == kHighBootRegion) {
    throw UsageError("'" + request.id +
                     "' is memory the VM started with and cannot be unplugged: only plugged memory can");
  }
  MemoryDevice* const device = table_.Find(request.id);
  if (device == nullptr) {
    throw UsageError("no " + Memory(request.id) + " is plugged: see `faultline memory list`");
  }
  if (device->phase == MemoryDevice::Phase::kPlugging) {
    throw UsageError(Memory(request.id) + " is still being plugged: try again in a moment");
  }
  const bool waits_for_guest = device->phase == MemoryDevice::Phase::kUnplugging && !device->pending->force;
  if (device->phase != MemoryDevice::Phase::kPlugged && !(waits_for_guest && request.force)) {
    throw UsageError(Memory(request.id) + " is being unplugged already: wait for it" +
                     (waits_for_guest ? ", or unplug with --force" : ""));
  }
  PendingUnplug& pending = device->pending ? *device->pending : BeginLocked(*device);
  if (done) pending.done.push_back(std::move(done));
  pending.force = request.force;
  pending.pin_deadline = request.pin_deadline;
  pending.deadline.reset();
  if (request.timeout && !request.force) {
    // Bounded, so that the sum cannot overflow.
    pending.timeout = std::clamp<std::chrono::nanoseconds>(*request.timeout, std::chrono::nanoseconds(0),
                                                           std::chrono::hours(24 * 365));
    pending.deadline = Clock::now() + pending.timeout;
  }
  pending.withdrawn = false;
  device->late_eject_possible = false;
  changed_.NotifyAll();
  return pending.operation;
}

PendingUnplug& PluggedMemory::BeginLocked(MemoryDevice& device) {
  PendingUnplug& pending = device.pending.emplace();
  pending.operation = ++last_operation_;
  pending.since = Clock::now();
  device.phase = MemoryDevice::Phase::kUnplugging;
  return pending;
}

void PluggedMemory::Cancel() {
  MutexLock lock(mutex_);
  cancelled_ = true;
  changed_.NotifyAll();
}

std::vector<MemoryDeviceInfo> PluggedMemory::List() const {
  const std::vector<RegionInfo> regions = memory_->Regions();
  MutexLock lock(mutex_);
  std::vector<MemoryDeviceInfo> list;
  for (const auto& [id, device] : table_.devices()) {
    if (device.phase == MemoryDevice::Phase::kPlugging) continue;
    MemoryDeviceInfo info = InfoLocked(device);
    const auto region =
        std::find_if(regions.begin(), regions.end(), [&, &name = id](const RegionInfo& r) { return r.name == name; });
    if (region != regions.end()) {
      info.present = region->present;
      info.pins = region->pins;
    }
    list.push_back(std::move(info));
  }
  std::sort(list.begin(), list.end(),
            [](const MemoryDeviceInfo& a, const MemoryDeviceInfo& b) { return a.slot < b.slot; });
  return list;
}

MemoryDeviceInfo PluggedMemory::InfoLocked(const MemoryDevice& device) const {
  MemoryDeviceInfo info;
  info.id = device.id;
  info.slot = device.slot;
  info.node = device.node;
  info.gpa = device.gpa;
  info.backing = device.backing;
  info.unplugging = device.phase != MemoryDevice::Phase::kPlugged;
  info.insert_status = device.insert_status;
  info.hotplugged = device.hotplugged;
  return info;
}

}  // namespace faultline
