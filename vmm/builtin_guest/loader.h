// Puts the built-in guest into a VM's memory: image, mailbox and page tables, all below 2 MiB.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "guestmem/guest_memory.h"
#include "guestmem/types.h"

namespace faultline {

// The state a vCPU starts in: 64-bit mode at CPL 3, flat segments, paging on, no IDT and no GDT (the guest
// loads no segment and must not fault), interrupts off. All other registers are zero. Port I/O is allowed
// twice over: by IOPL 3 in RFLAGS, and by the I/O permission bitmap of the task state segment, because
// software KVM forgets the IOPL as soon as the guest ran natively.
struct CpuEntry {
  uint64_t rip = 0;
  uint64_t rsp = 0;
  uint64_t rdi = 0;  // the vCPU's index
  uint64_t cr3 = 0;
  uint64_t tss_base = 0;  // for TR: a 64-bit TSS that permits every port the guest uses
  uint32_t tss_limit = 0;
};

enum class BuiltinGuestMode : uint8_t {
  kConsole,  // commands on the serial console
  kStorm,    // every vCPU runs the storm payload
};

struct BuiltinGuestConfig {
  unsigned cpus = 1;                       // 1..256
  std::vector<GpaRange> boot_ram = {};     // 1..4 ranges; the first starts at 0 and holds at least 2 MiB
  GpaRange hotplug_window = {};            // size 0: nothing can be plugged
  unsigned hotplug_slots = 0;              // 0..256
  std::vector<GpaRange> also_mapped = {};  // further guest-physical ranges to map one to one
  // Map with 1 GiB pages where aligned. Only if KVM was told a CPUID with the PDPE1GB bit: without it such
  // an entry faults. Otherwise 2 MiB pages, of which the tables reach about 380 GiB in all,
  // less 1 GiB for each vCPU.
  bool gib_pages = false;
  BuiltinGuestMode mode = BuiltinGuestMode::kConsole;
};

// Writes the guest into boot memory (which must be plugged) and returns one entry for each vCPU. Everything
// mapped is readable, writable and executable at CPL 3. Throws UsageError for a config outside the limits
// above, with nothing written, and Error when guest memory cannot be written.
std::vector<CpuEntry> LoadBuiltinGuest(GuestMemory& memory, const BuiltinGuestConfig& config);

// Asks a running guest to end the VM as its `halt` command does; the caller then notifies the idle port.
// False when guest memory cannot be written. Thread-safe, does not block.
bool RequestBuiltinGuestShutdown(GuestMemory& memory) noexcept;

// The flat image as it is loaded at guest::kImageAddress, for tests.
std::span<const std::byte> BuiltinGuestImage();

}  // namespace faultline
