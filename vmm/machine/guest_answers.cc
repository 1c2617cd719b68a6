// What a guest says through the hot-plug registers, and what becomes of it. On vCPU threads.
#include <utility>

#include "vmm/machine/plugged_memory.h"

namespace faultline {

void PluggedMemory::OnRequestSeen(unsigned slot) {
  MemoryProgressEvent progress{0, "", slot, UnplugStage::kNoticed};
  {
    MutexLock lock(mutex_);
    MemoryDevice* const device = table_.FindSlot(slot);
    if (device == nullptr || device->phase != MemoryDevice::Phase::kUnplugging) return;
    if (device->pending->stage != UnplugStage::kAsked) return;
    device->pending->stage = UnplugStage::kNoticed;
    progress.operation = device->pending->operation;
    progress.id = device->id;
  }
  Emit(progress);
}

void PluggedMemory::OnEject(unsigned slot) {
  bool keep = false;
  {
    MutexLock lock(mutex_);
    MemoryDevice* const device = table_.FindSlot(slot);
    if (device == nullptr || device->phase == MemoryDevice::Phase::kRemoving || cancelled_) return;
    if (device->phase == MemoryDevice::Phase::kPlugged) {
      keep = std::exchange(device->late_eject_possible, false);
      if (!keep) {
        BeginLocked(*device).guest_initiated = true;
      }
    }
    if (!keep) {
      device->pending->ejected = true;
      device->pending->answered = Clock::now();
    }
    changed_.NotifyAll();
  }
  // The request was withdrawn and reported as failed: the guest gets the memory back.
  if (keep) registers_.CancelEject(slot);
}

void PluggedMemory::OnOst(unsigned slot, uint32_t event, uint32_t status) {
  OstEvent ost{"", slot, event, status};
  std::optional<MemoryProgressEvent> progress;
  {
    MutexLock lock(mutex_);
    if (MemoryDevice* const device = table_.FindSlot(slot)) {
      ost.id = device->id;
      const bool asked = device->phase == MemoryDevice::Phase::kUnplugging && device->pending->asked;
      if (!ost::IsEjection(event)) {
        device->insert_status = status;
      } else if (asked && ost::IsRefusal(event, status)) {
        device->pending->refusal = ost;
        device->pending->answered = Clock::now();
        changed_.NotifyAll();
      } else if (asked && status == ost::kEjectionPending && device->pending->stage < UnplugStage::kEmptying) {
        device->pending->stage = UnplugStage::kEmptying;
        progress = MemoryProgressEvent{device->pending->operation, device->id, slot, UnplugStage::kEmptying};
      }
    }
  }
  Emit(ost);
  if (progress) Emit(*progress);
}

}  // namespace faultline
