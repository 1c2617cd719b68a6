// The configuration space of one PCI function: 256 bytes, which of their bits the guest may change, and
// the list of capabilities (PCI Local Bus 3.0 §6.1, §6.7).
//
// A plain value without synchronisation; its owner guards it.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "guestmem/types.h"

namespace faultline {

// Offsets and bits of a type 0 header (PCI 3.0 §6.1, §6.2).
namespace pci {
inline constexpr unsigned kVendorId = 0x00;
inline constexpr unsigned kDeviceId = 0x02;
inline constexpr unsigned kCommand = 0x04;
inline constexpr unsigned kStatus = 0x06;
inline constexpr unsigned kRevision = 0x08;
inline constexpr unsigned kClass = 0x09;
inline constexpr unsigned kHeaderType = 0x0e;
inline constexpr unsigned kBar0 = 0x10;
inline constexpr unsigned kBarCount = 6;
inline constexpr unsigned kSubsystemVendorId = 0x2c;
inline constexpr unsigned kSubsystemId = 0x2e;
inline constexpr unsigned kCapabilities = 0x34;
inline constexpr unsigned kInterruptLine = 0x3c;
inline constexpr unsigned kInterruptPin = 0x3d;

inline constexpr uint16_t kCommandMemory = 1 << 1;
inline constexpr uint16_t kCommandMaster = 1 << 2;
inline constexpr uint16_t kCommandIntxDisable = 1 << 10;
inline constexpr uint16_t kStatusInterrupt = 1 << 3;
inline constexpr uint16_t kStatusCapabilities = 1 << 4;

inline constexpr uint8_t kCapabilityVendor = 0x09;
inline constexpr uint8_t kCapabilityMsix = 0x11;
}  // namespace pci

class ConfigSpace {
 public:
  static constexpr unsigned kSize = 256;

  // Sets `width` bytes at `offset`, little-endian, and which of their bits a guest may write.
  void Set(unsigned offset, unsigned width, uint64_t value, uint64_t writable = 0);
  // The same, and what a guest may write stays.
  void Put(unsigned offset, unsigned width, uint64_t value);
  uint64_t Get(unsigned offset, unsigned width) const;

  // Appends a capability with `body` after its two-byte header; guests may write the bits set in
  // `writable` (as long as body or empty). Returns its offset. Throws Error when the space is full.
  unsigned AddCapability(uint8_t id, std::span<const std::byte> body, std::span<const std::byte> writable = {});

  // A guest's access at any offset and width. What lies past the end reads as zero and ignores writes.
  void Read(unsigned offset, std::span<std::byte> out) const;
  void Write(unsigned offset, std::span<const std::byte> data);

 private:
  std::array<std::byte, kSize> value_ = {};
  std::array<std::byte, kSize> writable_ = {};
  unsigned capability_end_ = 0x40;
  unsigned last_link_ = pci::kCapabilities;
};

// True when an access of `size` bytes at `offset` touches any of the `width` bytes at `at`.
constexpr bool Touches(unsigned offset, size_t size, unsigned at, unsigned width) {
  return offset < at + width && at < offset + size;
}

}  // namespace faultline
