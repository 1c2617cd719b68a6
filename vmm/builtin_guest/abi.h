// What the VMM and the built-in guest agree on: where things lie in guest memory, the mailbox through
// which the guest learns of its machine, and the ports it uses. Compiled into both sides, so it holds
// plain constants and structs only.
//
// Guest-physical memory below 2 MiB belongs to the guest image and the VMM; everything the guest calls
// memory starts at kReservedEnd.
#pragma once

#include <cstdint>

namespace faultline::guest {

// A 64-bit task state segment whose I/O permission bitmap is all zero: every port up to kTssLastPort.
inline constexpr uint64_t kTssAddress = 0;
inline constexpr uint32_t kTssSize = 0x1000;
inline constexpr uint32_t kTssIoMapOffset = 104;  // the TSS proper is that long (Intel SDM vol. 3A §8.7)
inline constexpr uint32_t kTssLastPort = (kTssSize - kTssIoMapOffset) * 8 - 9;
inline constexpr uint64_t kMailboxAddress = 0x1000;
inline constexpr uint64_t kImageAddress = 0x10000;  // entry point and start of the flat image
inline constexpr uint64_t kImageEnd = 0x80000;      // code, data and zero-initialised data end below
inline constexpr uint64_t kStacksAddress = 0x80000;
inline constexpr uint64_t kStackSize = 0x1000;  // for each vCPU; the stack grows down from its end
// The page tables follow the last stack and end below this.
inline constexpr uint64_t kReservedEnd = 0x200000;

inline constexpr uint32_t kMaxCpus = 256;
static_assert(kStacksAddress + kMaxCpus * kStackSize + 128 * 0x1000 <= kReservedEnd);

inline constexpr uint16_t kSerialPort = 0x3f8;
inline constexpr uint16_t kDebugExitPort = 0xf4;
inline constexpr uint16_t kIdlePort = 0x5f4;
inline constexpr uint16_t kHotplugPort = 0xa00;
inline constexpr uint32_t kMaxHotplugSlots = 256;
static_assert(kHotplugPort + 24 <= kTssLastPort);

inline constexpr uint32_t kMailboxMagic = 0x746c7546;  // "Fult"
inline constexpr uint32_t kMailboxVersion = 1;

// What the guest does once it runs.
inline constexpr uint32_t kModeConsole = 0;
inline constexpr uint32_t kModeStorm = 1;

// A stretch of guest-physical memory, in bytes.
struct MemoryRange {
  uint64_t start;
  uint64_t size;
};

inline constexpr uint32_t kMaxBootRanges = 4;

// At kMailboxAddress; written by the VMM before the first vCPU starts. Only `shutdown` changes later.
struct Mailbox {
  uint32_t magic;
  uint32_t version;
  uint32_t mode;
  uint32_t cpu_count;
  uint32_t hotplug_slots;
  uint32_t boot_range_count;
  MemoryRange boot_ranges[kMaxBootRanges];  // the first starts at 0
  MemoryRange hotplug_window;               // mapped in the page tables; size 0 when nothing can be plugged
  // Set to 1 by the VMM to ask the guest to end the VM; the idle port is notified afterwards.
  uint32_t shutdown;
  uint32_t reserved;
};
static_assert(sizeof(Mailbox) <= 4096);

}  // namespace faultline::guest
