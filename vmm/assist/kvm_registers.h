// A vCPU's registers between KVM's form and the one that InstructionAssist works on.
#pragma once

#include <linux/kvm.h>

#include "vmm/assist/assist.h"

namespace faultline {

AssistRegisters ToAssistRegisters(const kvm_regs& regs, const kvm_sregs& sregs);

X87State ToX87State(const kvm_fpu& fpu);
// Leaves the rest of `fpu` as it is.
void SetX87State(const X87State& state, kvm_fpu* fpu);

// The general registers, RIP and RFLAGS; an assist changes no other.
kvm_regs ToKvmRegs(const AssistRegisters& registers);

}  // namespace faultline
