// The register state of a vCPU that starts in 64-bit mode at CPL 3: what lets one guest image run natively on
// VMX, SVM and software KVM alike.
#pragma once

#include <linux/kvm.h>

#include "vmm/builtin_guest/loader.h"

namespace faultline {

// `reset` as KVM_GET_SREGS gave it, changed to 64-bit mode at CPL 3 with flat segments, entry's page tables and
// no IDT: any exception is a triple fault (Intel SDM vol. 3A §3.4.5, §4.5, §10.8.5).
kvm_sregs UserModeSregs(const kvm_sregs& reset, const CpuEntry& entry);

// entry's RIP, RSP and RDI; IOPL 3, so that port I/O works at CPL 3; interrupts off.
kvm_regs UserModeRegs(const CpuEntry& entry);

}  // namespace faultline
