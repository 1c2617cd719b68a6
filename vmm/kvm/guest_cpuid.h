// The CPUID leaves of one vCPU of a PC: the host's features as KVM offers them, with a topology of its own.
#pragma once

#include "vmm/kvm/kvm_constants.h"

namespace faultline {

// `supported` is KvmSystem::SupportedCpuid. All CPUs are cores of one socket without hyper-threading; vCPU i has
// APIC id i (Intel SDM vol. 2A CPUID, leaves 01H, 04H, 0BH; AMD APM vol. 3 appendix E, 8000_0008H, 8000_001DH,
// 8000_001EH). `deadline_timer`: KVM has the APIC's TSC-deadline mode, which it does not report by itself.
kvm::CpuidList GuestCpuid(const kvm::CpuidList& supported, unsigned index, unsigned cpus, bool deadline_timer);

// `list` for software KVM, whose interpreter runs the guest's kernel: a processor of Intel's Nehalem generation, with
// no instruction that the interpreter lacks, and no hypervisor's features. Such a KVM may follow it in part only: where
// it shows the guest the host's bits of leaves 1 and 7 all the same, the guest's command line has to say what to leave.
// Intel's, because the interpreter lets a 32-bit program's sysenter, the one system call that it delivers to a kernel,
// pass for those alone; of family 6, because kernels then move and clear memory by `rep` instructions, which are
// interpreted quicker than loops. The guest's programs run natively and see the host's CPUID.
kvm::CpuidList ForInterpretedKernel(const kvm::CpuidList& list);

}  // namespace faultline
