#include "vmm/kvm/exit_text.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "guestmem/error.h"
#include "guestmem/hex.h"
#include "vmm/kvm/kvm_constants.h"

namespace faultline {
namespace {

std::string Where(unsigned vcpu, const kvm_regs& regs) {
  return "vCPU " + std::to_string(vcpu) + " at RIP " + Hex(regs.rip);
}

std::string SuberrorText(uint32_t suberror) {
  switch (suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
      return "KVM cannot emulate the instruction";
    case KVM_INTERNAL_ERROR_SIMUL_EX:
      return "an exception came while KVM delivered another";
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
      return "KVM could not deliver an event";
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
      return "the processor left the guest for a reason KVM does not know";
    default:
      return "KVM met internal error " + std::to_string(suberror);
  }
}

std::string InstructionText(const kvm_run& run) {
  std::string text;
  for (const uint8_t value : InstructionBytes(run)) {
    std::array<char, 4> byte{};
    std::snprintf(byte.data(), byte.size(), " %02x", value);
    text += byte.data();
  }
  return text.empty() ? "" : ", bytes" + text;
}

}  // namespace

std::span<const uint8_t> InstructionBytes(const kvm_run& run) {
  const auto& failure = run.emulation_failure;
  // ndata counts 64-bit words; the flags are the first, the instruction takes two more.
  if (failure.suberror != KVM_INTERNAL_ERROR_EMULATION || failure.ndata < 3 ||
      (failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) == 0) {
    return {};
  }
  return std::span(failure.insn_bytes).first(std::min<size_t>(failure.insn_size, sizeof(failure.insn_bytes)));
}

std::string TripleFaultText(unsigned vcpu, const kvm_regs& regs) {
  return "the guest crashed: triple fault on " + Where(vcpu, regs) + " (RSP " + Hex(regs.rsp) +
         "); it met an exception that it has no handler for";
}

std::string InternalErrorText(unsigned vcpu, const kvm_run& run, const kvm_regs& regs) {
  return "the guest cannot go on: " + SuberrorText(run.internal.suberror) + " on " + Where(vcpu, regs) +
         InstructionText(run) + " (KVM internal error, suberror " + std::to_string(run.internal.suberror) + ")";
}

std::string FailEntryText(unsigned vcpu, const kvm_run& run, const kvm_regs& regs) {
  return "the guest cannot go on: the processor refused to enter " + Where(vcpu, regs) + " (hardware reason " +
         Hex(run.fail_entry.hardware_entry_failure_reason) + ", host CPU " + std::to_string(run.fail_entry.cpu) +
         "); its state is not valid on this host";
}

std::string UnknownExitText(unsigned vcpu, const kvm_run& run, const kvm_regs& regs) {
  if (run.exit_reason == KVM_EXIT_HLT) {
    return "the guest cannot go on: " + Where(vcpu, regs) + " executed hlt and nothing can wake it";
  }
  return "the guest cannot go on: " + Where(vcpu, regs) + " left for KVM exit reason " +
         std::to_string(run.exit_reason) + ", which this VMM does not handle";
}

std::string BadMemoryText(unsigned vcpu, const kvm_run& run, const kvm_regs& regs) {
  std::string what = "memory";
  if (run.exit_reason == kvm::kExitMemoryFault) {
    kvm::MemoryFaultExit fault;
    std::memcpy(&fault, &run.hw, sizeof(fault));
    what = "guest-physical " + Hex(fault.gpa);
  }
  return "the guest cannot go on: the host cannot reach " + what + ", which " + Where(vcpu, regs) +
         " accesses, and nothing is being unplugged; check the host for memory errors and the backing file for its "
         "size";
}

std::string RunFailedText(unsigned vcpu, int error, const kvm_regs& regs) {
  return "the guest cannot go on: KVM refused to run " + Where(vcpu, regs) + " (" + ErrnoText(error) + ")";
}

}  // namespace faultline
