#include "devices/memory_hotplug.h"

#include <algorithm>
#include <array>
#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

// Byte offsets of the registers, reading and writing.
constexpr uint64_t kReadAddress = 0x00;
constexpr uint64_t kReadSize = 0x08;
constexpr uint64_t kReadProximity = 0x10;
constexpr uint64_t kStatusControl = 0x14;
constexpr uint64_t kWriteSelector = 0x00;
constexpr uint64_t kWriteOstEvent = 0x04;
constexpr uint64_t kWriteOstStatus = 0x08;

constexpr uint8_t kEnabled = 0x01;
constexpr uint8_t kInsertEvent = 0x02;
constexpr uint8_t kRemoveEvent = 0x04;
constexpr uint8_t kEject = 0x08;
constexpr uint8_t kEjected = 0x10;

unsigned CheckedSlotCount(unsigned slots) {
  if (slots > MemoryHotplug::kMaxSlots) {
    throw UsageError("a VM has at most " + std::to_string(MemoryHotplug::kMaxSlots) + " memory slots, not " +
                     std::to_string(slots) + "; ask for fewer");
  }
  return slots;
}

}  // namespace

namespace ost {

std::string StatusText(uint32_t event, uint32_t status) {
  switch (status) {
    case kSuccess:
      return "success";
    case kFailure:
      return "failure without a given reason";
    case kNotRecognised:
      return "request not recognised";
    default:
      break;
  }
  if (IsEjection(event)) {
    switch (status) {
      case kEjectionNotSupported:
        return "ejection not supported by the guest";
      case kInUseByApplication:
        return "device in use by application";
      case kDeviceBusy:
        return "device busy";
      case kDependencyBusy:
        return "a device that depends on it is busy";
      case kEjectionPending:
        return "ejection in progress";
      default:
        break;
    }
  }
  return "status " + std::to_string(status);
}

}  // namespace ost

MemoryHotplug::MemoryHotplug(unsigned slots, MemoryHotplugListener& listener)
    : slot_count_(CheckedSlotCount(slots)), listener_(listener), slots_(slots) {}

void MemoryHotplug::Insert(unsigned slot, GpaRange range, uint32_t proximity) {
  if (slot >= slot_count_) {
    throw Error("memory slot " + std::to_string(slot) + " does not exist; this VM has " + std::to_string(slot_count_));
  }
  {
    const MutexLock lock(mutex_);
    if (slots_[slot].state.occupied) {
      throw Error("memory slot " + std::to_string(slot) + " already holds memory; choose a free one");
    }
    slots_[slot] = Slot{.state = {.range = range, .proximity = proximity, .occupied = true, .insert_event = true}};
  }
  listener_.OnEventRaised();
}

bool MemoryHotplug::RequestEject(unsigned slot) {
  {
    const MutexLock lock(mutex_);
    if (slot >= slot_count_ || !slots_[slot].state.occupied) return false;
    slots_[slot].state.remove_event = true;
  }
  listener_.OnEventRaised();
  return true;
}

bool MemoryHotplug::CancelEject(unsigned slot) {
  bool raised = false;
  {
    const MutexLock lock(mutex_);
    if (slot >= slot_count_ || !slots_[slot].state.occupied) return false;
    Slot& s = slots_[slot];
    s.state.remove_event = false;
    raised = s.ejected;
    if (s.ejected) s.state.insert_event = true;
    s.ejected = false;
  }
  if (raised) listener_.OnEventRaised();
  return true;
}

bool MemoryHotplug::Remove(unsigned slot) {
  bool surprise = false;
  {
    const MutexLock lock(mutex_);
    if (slot >= slot_count_ || !slots_[slot].state.occupied) return false;
    surprise = !slots_[slot].ejected;
    slots_[slot] = Slot{};
  }
  if (surprise) listener_.OnEventRaised();
  return true;
}

std::optional<MemoryHotplug::SlotState> MemoryHotplug::slot(unsigned index) const {
  const MutexLock lock(mutex_);
  if (index >= slot_count_) return std::nullopt;
  return slots_[index].state;
}

std::optional<unsigned> MemoryHotplug::FindFreeSlot() const {
  const MutexLock lock(mutex_);
  const auto it = std::ranges::find_if(slots_, [](const Slot& slot) { return !slot.state.occupied; });
  if (it == slots_.end()) return std::nullopt;
  return static_cast<unsigned>(it - slots_.begin());
}

MemoryHotplug::State MemoryHotplug::SaveState() const {
  const MutexLock lock(mutex_);
  State state;
  state.selector = selector_;
  for (const Slot& slot : slots_) state.slots.push_back({slot.state, slot.ejected});
  return state;
}

void MemoryHotplug::RestoreState(const State& state) {
  const MutexLock lock(mutex_);
  const auto same = [](const Slot& have, const SavedSlot& saved) {
    return have.state.occupied == saved.state.occupied &&
           (!have.state.occupied || have.state.range == saved.state.range);
  };
  if (!std::ranges::equal(slots_, state.slots, same)) {
    throw Error("the saved memory slots hold other memory than this VM: restore into a VM of the same layout");
  }
  for (size_t i = 0; i < slots_.size(); ++i) slots_[i] = Slot{state.slots[i].state, state.slots[i].ejected};
  selector_ = state.selector;
}

void MemoryHotplug::Read(Bytes offset, std::span<std::byte> out) {
  std::array<std::byte, kPortCount.value> registers = {};
  {
    const MutexLock lock(mutex_);
    if (selector_ < slot_count_) {
      const SlotState& state = slots_[selector_].state;
      const bool ejected = slots_[selector_].ejected;
      const std::span<std::byte> bytes(registers);
      StoreLittleEndian(state.range.start.value, bytes.subspan(kReadAddress, 8));
      StoreLittleEndian(state.range.size.value, bytes.subspan(kReadSize, 8));
      StoreLittleEndian(state.proximity, bytes.subspan(kReadProximity, 4));
      uint8_t status = 0;
      if (state.occupied) status |= kEnabled;
      if (state.insert_event) status |= kInsertEvent;
      if (state.remove_event) status |= kRemoveEvent;
      if (ejected) status |= kEjected;
      registers[kStatusControl] = std::byte{status};
    }
  }
  for (size_t i = 0; i < out.size(); ++i) {
    const uint64_t index = offset.value + i;
    out[i] = index < registers.size() ? registers[index] : std::byte{0};
  }
}

void MemoryHotplug::Write(Bytes offset, std::span<const std::byte> data) {
  const auto value = static_cast<uint32_t>(LoadLittleEndian(data));
  switch (offset.value) {
    case kWriteSelector: {
      const MutexLock lock(mutex_);
      selector_ = value;
      return;
    }
    case kWriteOstEvent: {
      const MutexLock lock(mutex_);
      if (selector_ < slot_count_) slots_[selector_].state.ost_event = value;
      return;
    }
    case kWriteOstStatus:
      WriteOstStatus(value);
      return;
    case kStatusControl:
      WriteControl(static_cast<uint8_t>(value));
      return;
    default:
      return;
  }
}

void MemoryHotplug::WriteOstStatus(uint32_t status) {
  unsigned slot = 0;
  uint32_t event = 0;
  {
    const MutexLock lock(mutex_);
    if (selector_ >= slot_count_) return;
    slot = selector_;
    event = slots_[slot].state.ost_event;
    slots_[slot].state.ost_status = status;
  }
  listener_.OnOst(slot, event, status);
}

void MemoryHotplug::WriteControl(uint8_t control) {
  unsigned slot = 0;
  bool seen = false;
  {
    const MutexLock lock(mutex_);
    if (selector_ >= slot_count_) return;
    slot = selector_;
    Slot& s = slots_[slot];
    // One action for each write, the first of these, as QEMU has it.
    if ((control & kInsertEvent) != 0) {
      s.state.insert_event = false;
      return;
    }
    if ((control & kRemoveEvent) != 0) {
      if (!std::exchange(s.state.remove_event, false)) return;
      seen = true;
    } else {
      if ((control & kEject) == 0 || !s.state.occupied) return;
      s.ejected = true;
    }
  }
  if (seen) {
    listener_.OnRequestSeen(slot);
  } else {
    listener_.OnEject(slot);
  }
}

}  // namespace faultline
