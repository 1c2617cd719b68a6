// What a machine is made of: the part of the command line that describes the guest, parsed.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/virtio/balloon.h"
#include "guestmem/backing.h"
#include "guestmem/guest_memory.h"
#include "guestmem/types.h"
#include "vmm/kvm/vm.h"
#include "vmm/machine/device_config.h"

namespace faultline {

// What an access to memory that is not there meets. Every one is counted, whatever the policy.
enum class UnpluggedPolicy : uint8_t {
  kOnes,  // reads give all-ones, writes are dropped; reported at a limited rate
  kStop,  // the same, and the VM is paused with an event that names vCPU, RIP and GPA
  kLog,   // as kOnes, and each single access is reported
};

// "ones", "stop", "log"; throws UsageError on anything else.
UnpluggedPolicy ParseUnpluggedPolicy(std::string_view text);
std::string_view ToString(UnpluggedPolicy policy);

// Whether a VM's memory follows what host and guest need of it by itself (vmm/control/auto_memory.h).
enum class AutoMemoryMode : uint8_t {
  kOff,
  kDryRun,  // it looks and tells what it would do
  kOn,
};

// "off", "dry-run", "on"; throws UsageError on anything else.
AutoMemoryMode ParseAutoMemoryMode(std::string_view text);
std::string_view ToString(AutoMemoryMode mode);

// Plug sizes and places are multiples of this.
inline constexpr Bytes kPlugGranule = kLeafSpan;
// What Linux takes in and gives up as a whole (memory_block_size_bytes on x86-64 below 64 GiB). A guest that has blocks
// takes plugged memory only if it consists of whole ones.
inline constexpr Bytes kGuestBlock = 128_MiB;

// A virtio-mem device: memory that a booted guest takes and gives back in blocks.
struct VirtioMemOptions {
  std::string id;
  Bytes size;                                        // what it can grow to; a multiple of its block size
  Bytes requested;                                   // what the guest should use from the start; likewise
  Bytes block{0};                                    // a power of two, 2 MiB at least; 0: see block_size()
  std::optional<BackingSpec> backing;                // that of the VM otherwise
  std::optional<PciPlace> pci_place = std::nullopt;  // the first free one otherwise

  // `block`, or else 2 MiB, and more for a device that would have more than 2048 blocks: each is a memslot.
  Bytes block_size() const;
};

inline constexpr char kBalloonId[] = "balloon0";

// A memory balloon; its on_change is the machine's.
struct BalloonOptions : BalloonConfig {
  std::string id = kBalloonId;
  std::optional<PciPlace> pci_place;  // the first free one otherwise
};

struct MemoryConfig {
  Bytes boot = 256_MiB;  // present at start and never unplugged; a multiple of 2 MiB
  Bytes max{0};          // boot and plugged memory together; 0 stands for `boot`: nothing can be plugged
  unsigned slots = 0;    // how many devices can be plugged at a time, at most 256
  unsigned nodes = 1;    // NUMA nodes, at most 8: boot memory and CPUs are in node 0, plugged memory in any
  BackingSpec backing;   // of boot memory, and of plugged memory that names none of its own
  FaultAround fault_around;
  AutoMemoryMode automatic = AutoMemoryMode::kOff;  // otherwise the machine has a balloon
  std::vector<VirtioMemOptions> virtio_mem;         // no driver of the built-in guest looks for them
};

// What to boot instead of the built-in guest, as paths and text. See vmm/boot/boot.h.
struct BootConfig {
  std::string kernel;  // empty: the built-in guest
  std::string initrd;
  std::string command_line;
};

struct MachineConfig {
  std::string name;
  unsigned cpus = 1;
  MemoryConfig memory;
  BootConfig boot;
  // Of a guest that is booted; the built-in one has none.
  IrqChip boot_irq_chip = IrqChip::kSplit;
  DeviceConfig devices;                   // likewise
  std::optional<BalloonOptions> balloon;  // no driver of the built-in guest looks for it
  UnpluggedPolicy on_unplugged_access = UnpluggedPolicy::kOnes;
  bool start_paused = false;
  // Nothing is loaded into memory: what runs comes with Machine::RestoreState. Implies start_paused.
  bool incoming = false;

  // Bytes the guest wrote to its serial console; called from vCPU threads, one call at a time, and should
  // not block for long: the guest waits. Null drops them.
  std::function<void(std::span<const std::byte>)> console_output;
  // The same for a virtio console, on its device's thread. Null: it prints where the serial console does, and gets what
  // is typed there.
  std::function<void(std::span<const std::byte>)> virtio_console_output;

  IrqChip irq_chip() const { return boot.kernel.empty() ? IrqChip::kNone : boot_irq_chip; }
};

// Throws UsageError when the numbers make no machine (zero CPUs, misaligned or overflowing sizes, max below
// boot, max without slots); the sentence names the value and what would do.
void Validate(const MachineConfig& config);

// Where guest memory lies, x86: boot memory below 3 GiB and again from 4 GiB up, then the window for plugged
// memory from the next 1 GiB boundary, large enough for all of it plus 2 MiB of slack for each slot.
struct MemoryLayout {
  GpaRange low;
  GpaRange high;                     // empty when boot memory ends below 3 GiB
  GpaRange window;                   // empty when nothing can be plugged
  unsigned nodes = 1;                // NUMA nodes that share the window
  std::vector<GpaRange> virtio_mem;  // of each device, behind the window, each from a 1 GiB boundary up

  // All places where memory may come to lie while the guest runs; empty when there are none.
  GpaRange hot_pluggable() const;
  // The part of the window that a NUMA node below `nodes` has: one of equal parts.
  GpaRange NodeWindow(unsigned node) const;

  static MemoryLayout For(const MemoryConfig& config);
};

}  // namespace faultline
