// KVM's exits that end a vCPU, as sentences for a person.
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <span>
#include <string>

namespace faultline {

// Each names the vCPU and RIP. `run` is the vCPU's shared page right after KVM_RUN returned.
std::string TripleFaultText(unsigned vcpu, const kvm_regs& regs);
// With the kind of the error and, where KVM gave them, the bytes of the instruction (KVM API 5,
// KVM_EXIT_INTERNAL_ERROR).
std::string InternalErrorText(unsigned vcpu, const kvm_run& run, const kvm_regs& regs);
// The bytes KVM gave, from RIP on; empty when it gave none or the error is of another kind.
std::span<const uint8_t> InstructionBytes(const kvm_run& run);
std::string FailEntryText(unsigned vcpu, const kvm_run& run, const kvm_regs& regs);
std::string UnknownExitText(unsigned vcpu, const kvm_run& run, const kvm_regs& regs);
// With the guest-physical address where KVM tells it (KVM_EXIT_MEMORY_FAULT).
std::string BadMemoryText(unsigned vcpu, const kvm_run& run, const kvm_regs& regs);
std::string RunFailedText(unsigned vcpu, int error, const kvm_regs& regs);

}  // namespace faultline
