// The registers through which a guest learns of memory that comes and must go: the layout of QEMU's
// "memory hot-plug interface" (QEMU docs/specs/acpi_mem_hotplug), which a guest drives directly or
// through AML, and one bit more in the status: 0x10, ejected and not taken away yet. Slots, insert and remove events,
// eject, and the status a guest reports back (ACPI 6.5 §6.3.5, _OST).
//
// Owned by the machine, which stays the one that plugs and unplugs memory: this only carries the
// conversation. One leaf lock guards the slots; all members are thread-safe and none blocks. Callbacks
// run without it, on the thread that caused them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "devices/bus.h"
#include "guestmem/mutex.h"
#include "guestmem/types.h"

namespace faultline {

// What the guest does with a slot. Called on the vCPU's thread that wrote the register, as often and in
// whatever order a guest likes; must not block for long.
class MemoryHotplugListener {
 public:
  virtual ~MemoryHotplugListener() = default;
  // The guest has let go of the memory in an occupied slot and wants it taken away; also without having
  // been asked, and also late, after CancelEject.
  virtual void OnEject(unsigned slot) = 0;
  // The guest acknowledged a request to eject the slot.
  virtual void OnRequestSeen(unsigned slot) = 0;
  // The guest reported on an event: `event` and `status` as in ACPI 6.5 tables 6.15 to 6.18.
  virtual void OnOst(unsigned slot, uint32_t event, uint32_t status) = 0;
  // An event was raised for the guest: make it look (an interrupt, or waking an idle port).
  virtual void OnEventRaised() = 0;
};

// Source events and status codes of _OST (ACPI 6.5 §6.3.5) that matter for memory.
namespace ost {
inline constexpr uint32_t kDeviceCheck = 0x01;
inline constexpr uint32_t kEjectionRequest = 0x03;
inline constexpr uint32_t kOspmEjection = 0x103;
inline constexpr uint32_t kOspmInsertion = 0x200;

inline constexpr uint32_t kSuccess = 0x00;
inline constexpr uint32_t kFailure = 0x01;
inline constexpr uint32_t kNotRecognised = 0x02;
inline constexpr uint32_t kEjectionNotSupported = 0x80;
inline constexpr uint32_t kInUseByApplication = 0x81;
inline constexpr uint32_t kDeviceBusy = 0x82;
inline constexpr uint32_t kDependencyBusy = 0x83;
inline constexpr uint32_t kEjectionPending = 0x84;

constexpr bool IsEjection(uint32_t event) { return event == kEjectionRequest || event == kOspmEjection; }
// True when the status says that the guest will not do what it was asked to.
constexpr bool IsRefusal(uint32_t event, uint32_t status) {
  return status != kSuccess && !(IsEjection(event) && status == kEjectionPending);
}
// The status in words ("device in use by application"), for messages.
std::string StatusText(uint32_t event, uint32_t status);
}  // namespace ost

class MemoryHotplug final : public BusDevice {
 public:
  static constexpr uint64_t kPort = 0xa00;
  static constexpr Bytes kPortCount{24};
  static constexpr unsigned kMaxSlots = 256;

  struct SlotState {
    GpaRange range;
    uint32_t proximity = 0;
    bool occupied = false;  // "enabled" in the registers
    bool insert_event = false;
    bool remove_event = false;
    uint32_t ost_event = 0;
    uint32_t ost_status = 0;
  };

  // Throws UsageError for more than kMaxSlots. `listener` outlives this.
  MemoryHotplug(unsigned slots, MemoryHotplugListener& listener);

  unsigned slot_count() const { return slot_count_; }

  // The memory in `range` is mapped: shows it to the guest and raises the insert event. Throws Error when
  // there is no such slot or it is occupied.
  void Insert(unsigned slot, GpaRange range, uint32_t proximity);
  // Asks the guest to let go of the slot; the answer comes as OnOst and OnEject. Asking again repeats the
  // event. False when the slot is empty or does not exist.
  bool RequestEject(unsigned slot);
  // The memory stays after all. Withdraws a request the guest has not noticed yet; when the guest has
  // already ejected the slot, raises the insert event, so that it takes the memory back into use. False
  // when the slot is empty or does not exist.
  bool CancelEject(unsigned slot);
  // The memory is gone, asked or not: empties the slot and raises an event if the guest had not ejected
  // it. False when the slot is empty or does not exist.
  bool Remove(unsigned slot);

  // A copy of one slot's state; nothing when there is no such slot.
  std::optional<SlotState> slot(unsigned index) const;
  std::optional<unsigned> FindFreeSlot() const;

  // All that a guest could tell one set of registers from another by.
  struct SavedSlot {
    SlotState state;
    bool ejected = false;
  };
  struct State {
    std::vector<SavedSlot> slots;
    uint32_t selector = 0;
  };
  State SaveState() const;
  // For slots that hold the same memory as in `state`, before the guest runs; nobody is called. Throws Error, with
  // nothing changed, when they do not.
  void RestoreState(const State& state);

  // Any width at any offset. Reads see the register bytes of the selected slot; reserved bytes and
  // slots that do not exist read as zero. Writes count where they start at a register, low bytes first,
  // and are ignored elsewhere.
  void Read(Bytes offset, std::span<std::byte> out) override;
  void Write(Bytes offset, std::span<const std::byte> data) override;

 private:
  struct Slot {
    SlotState state;
    bool ejected = false;  // the guest let go of it since the last insert event
  };
  void WriteControl(uint8_t control);
  void WriteOstStatus(uint32_t status);

  const unsigned slot_count_;
  MemoryHotplugListener& listener_;

  mutable Mutex mutex_;
  std::vector<Slot> slots_ GUARDED_BY(mutex_);
  uint32_t selector_ GUARDED_BY(mutex_) = 0;
};

}  // namespace faultline
