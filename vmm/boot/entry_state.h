// The register state of a vCPU that starts a kernel at CPL 0: BootEntry as KVM takes it.
#pragma once

#include <linux/kvm.h>

#include <array>
#include <cstdint>

#include "vmm/boot/boot.h"

namespace faultline {

// The GDT that a loaded kernel finds: null, null, code at 0x10 and data at 0x18 (Linux/x86 boot protocol,
// __BOOT_CS and __BOOT_DS), a task state segment at 0x20.
using BootGdt = std::array<uint64_t, 5>;
BootGdt GdtFor(BootEntry::Mode mode);

// `reset` as KVM_GET_SREGS gave it, changed to the mode of `entry` with the segments of GdtFor(entry.mode) loaded.
// No IDT: an exception before the kernel has its own is a triple fault.
kvm_sregs KernelSregs(const kvm_sregs& reset, const BootEntry& entry);

kvm_regs KernelRegs(const BootEntry& entry);

}  // namespace faultline
