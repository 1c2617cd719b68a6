// Unplugs seen as operations: which are under way, how the last ones ended, and taking a request back.
#include <algorithm>
#include <string>

#include "guestmem/error.h"
#include "vmm/machine/plugged_memory.h"

namespace faultline {

UnplugOperationInfo PluggedMemory::OperationLocked(const MemoryDevice& device) const {
  const PendingUnplug& pending = *device.pending;
  const Clock::time_point now = Clock::now();
  UnplugOperationInfo info;
  info.operation = pending.operation;
  info.id = device.id;
  info.slot = device.slot;
  info.gpa = device.gpa;
  info.forced = pending.force;
  info.guest_initiated = pending.guest_initiated;
  info.stage = pending.stage;
  info.age = now - pending.since;
  if (pending.deadline) info.time_left = std::max<Clock::duration>(*pending.deadline - now, Clock::duration::zero());
  return info;
}

std::vector<UnplugOperationInfo> PluggedMemory::Operations() const {
  MutexLock lock(mutex_);
  std::vector<UnplugOperationInfo> list(ended_.begin(), ended_.end());
  const auto under_way = static_cast<std::ptrdiff_t>(list.size());
  for (const auto& [id, device] : table_.devices()) {
    if (device.pending) list.push_back(OperationLocked(device));
  }
  std::ranges::sort(list.begin() + under_way, list.end(), {}, &UnplugOperationInfo::operation);
  return list;
}

void PluggedMemory::CancelUnplug(uint64_t operation) {
  MutexLock lock(mutex_);
  const std::string name = "unplug operation " + std::to_string(operation);
  for (auto& [id, device] : table_.devices()) {
    if (!device.pending || device.pending->operation != operation) continue;
    if (device.phase == MemoryDevice::Phase::kRemoving || device.pending->force || device.pending->ejected) {
      throw UsageError(name + " cannot be withdrawn any more: memory '" + id + "' is being taken away");
    }
    device.pending->withdrawn = true;
    changed_.NotifyAll();
    return;
  }
  if (operation == 0 || operation > last_operation_) {
    throw UsageError("there is no " + name + ": see `faultline memory operations`");
  }
  throw UsageError(name + " has ended already: see `faultline memory operations`");
}

}  // namespace faultline
