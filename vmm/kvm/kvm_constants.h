// The parts of KVM's API that are newer than the system's <linux/kvm.h>; each with the kernel that brought it.
#pragma once

#include <linux/kvm.h>

#include <cstdint>

namespace faultline::kvm {

// Linux 6.8: KVM_EXIT_MEMORY_FAULT comes with the guest-physical range that could not be mapped.
inline constexpr unsigned kCapMemoryFaultInfo = 232;
inline constexpr uint32_t kExitMemoryFault = 39;

// What `kvm_run` holds for kExitMemoryFault; lies where kvm_run's exit union begins.
struct MemoryFaultExit {
  uint64_t flags;
  uint64_t gpa;
  uint64_t size;
};

// Linux 6.12, a bit of KVM_CAP_DISABLE_QUIRKS2: without it, deleting a memslot zaps only that slot's
// mappings and not those of the whole VM.
inline constexpr uint64_t kQuirkSlotZapAll = 1ULL << 7;

}  // namespace faultline::kvm
