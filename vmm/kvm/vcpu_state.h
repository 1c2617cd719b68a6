// All that KVM keeps of one vCPU between two KVM_RUNs, to be written down and given to a vCPU of another VM.
//
// Plain values in the layout of KVM's interface. Between hosts they are as portable as KVM's own: the other host's
// processor must have what the guest was told of.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace faultline {

class Vcpu;

struct VcpuState {
  kvm_regs regs{};
  kvm_sregs sregs{};
  kvm_debugregs debug_regs{};
  kvm_vcpu_events events{};
  kvm_xcrs xcrs{};
  std::vector<uint8_t> xsave;            // as long as KVM makes it (KVM API 4.42, 4.134)
  std::optional<kvm_lapic_state> lapic;  // with an in-kernel local APIC only, as is the next
  std::optional<kvm_mp_state> mp_state;
  std::vector<kvm_msr_entry> msrs;  // those that KVM names and tells
};

// Only while the vCPU is parked or has not run. Throw Error, naming what KVM refused; a vCPU whose state could not
// be restored is not fit to run.
VcpuState CaptureVcpuState(const Vcpu& vcpu);
void RestoreVcpuState(Vcpu& vcpu, const VcpuState& state);

}  // namespace faultline
