// Address-space dispatch: which device answers a port or an MMIO address.
//
// One Bus for port I/O and one for MMIO, both owned by the machine, which also owns the devices. A vCPU's
// exit becomes one Read or Write here; the device sees an offset into the range it was attached at and
// the access's width as the length of a span. All members are thread-safe; devices are called without
// any lock of the bus held, so a device may attach or detach devices, itself included, while it answers.
#pragma once

#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <span>
#include <vector>

#include "guestmem/thread_annotations.h"
#include "guestmem/types.h"

namespace faultline {

// What a device implements to be reached by the guest. Called from any vCPU's thread, several at once:
// each device takes its own lock. An access always lies inside the attached range; nothing else about it
// may be trusted: any width from 1 byte up and any alignment can come.
class BusDevice {
 public:
  virtual ~BusDevice() = default;
  // Fills all of `out` (little-endian).
  virtual void Read(Bytes offset, std::span<std::byte> out) = 0;
  virtual void Write(Bytes offset, std::span<const std::byte> data) = 0;
};

class Bus {
 public:
  // Throws Error when the range is empty, wraps around or overlaps an attached one: a set-up mistake of
  // the machine. `device` stays with the caller and must outlive its attachment and every access that
  // began before Detach returned; with an `owner`, which then holds `device`, the bus sees to the latter: it keeps a
  // reference for the attachment and one for each access under way.
  void Attach(uint64_t base, Bytes size, BusDevice& device, std::shared_ptr<const void> owner = nullptr);

  // Later accesses no longer find the range attached at exactly `base`; an access already inside the
  // device is not waited for. False when nothing is attached there.
  bool Detach(uint64_t base);

  // False when no single device claims every byte of the access, with `out` untouched: the caller then
  // answers for an empty bus (reads all-ones, writes dropped). Blocks as the device does.
  bool Read(uint64_t address, std::span<std::byte> out) const;
  bool Write(uint64_t address, std::span<const std::byte> data) const;

 private:
  struct Attachment {
    uint64_t base = 0;
    uint64_t last = 0;  // inclusive, so that a range may end at the top of the address space
    BusDevice* device = nullptr;
    std::shared_ptr<const void> owner;
  };
  // The attachment that holds all of [address, address + size), by value: the table may change meanwhile.
  Attachment Find(uint64_t address, size_t size) const;

  mutable std::shared_mutex mutex_;      // guards attachments_; held for a lookup, never across a device
  std::vector<Attachment> attachments_;  // sorted by base, disjoint
};

// Little-endian register access for devices, whatever the width of the guest's access: bytes past the
// register read as zero, and of a wide write only the low bytes count.
inline void StoreLittleEndian(uint64_t value, std::span<std::byte> out) {
  for (std::byte& byte : out) {
    byte = static_cast<std::byte>(value & 0xff);
    value >>= 8;
  }
}
inline uint64_t LoadLittleEndian(std::span<const std::byte> data) {
  uint64_t value = 0;
  for (size_t i = 0; i < data.size() && i < sizeof(value); ++i) value |= std::to_integer<uint64_t>(data[i]) << (8 * i);
  return value;
}

}  // namespace faultline
