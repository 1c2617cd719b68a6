// The CPUID leaves of one vCPU of a PC: the host's features as KVM offers them, with a topology of its own.
#pragma once

#include "vmm/kvm/kvm_constants.h"

namespace faultline {

// `supported` is KvmSystem::SupportedCpuid. All CPUs are cores of one socket without hyper-threading; vCPU i has
// APIC id i (Intel SDM vol. 2A CPUID, leaves 01H, 04H, 0BH; AMD APM vol. 3 appendix E, 8000_0008H, 8000_001DH,
// 8000_001EH). `deadline_timer`: KVM has the APIC's TSC-deadline mode, which it does not report by itself.
kvm::CpuidList GuestCpuid(const kvm::CpuidList& supported, unsigned index, unsigned cpus, bool deadline_timer);

// The same with Intel as the vendor. For software KVM, whose interpreter lets a 32-bit program's sysenter, the one
// system call that it delivers to a kernel, pass for Intel's processors alone. The guest's kernel, interpreted, sees
// the list; its programs, which run natively, see the host's CPUID.
kvm::CpuidList WithIntelVendor(const kvm::CpuidList& list);

}  // namespace faultline
