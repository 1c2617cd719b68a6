#include "vmm/assist/kvm_registers.h"

#include <cstring>

namespace faultline {
namespace {

constexpr uint64_t kEferLma = 1ULL << 10;

unsigned CodeBits(const kvm_sregs& sregs) {
  if ((sregs.efer & kEferLma) != 0 && sregs.cs.l != 0) return 64;
  return sregs.cs.db != 0 ? 32 : 16;
}

}  // namespace

AssistRegisters ToAssistRegisters(const kvm_regs& regs, const kvm_sregs& sregs) {
  AssistRegisters out;
  out.gpr = {regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp, regs.rsi, regs.rdi,
             regs.r8,  regs.r9,  regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15};
  out.rip = regs.rip;
  out.rflags = regs.rflags;
  out.cr0 = sregs.cr0;
  out.cr3 = sregs.cr3;
  out.cr4 = sregs.cr4;
  out.efer = sregs.efer;
  out.segment_base = {sregs.es.base, sregs.cs.base, sregs.ss.base, sregs.ds.base, sregs.fs.base, sregs.gs.base};
  out.cs_selector = sregs.cs.selector;
  // SS, not CS: in a conforming code segment the two differ (Intel SDM vol. 3A §5.5).
  out.cpl = sregs.ss.dpl;
  out.code_bits = CodeBits(sregs);
  return out;
}

X87State ToX87State(const kvm_fpu& fpu) {
  X87State state;
  state.environment = {fpu.fcw, fpu.fsw, fpu.ftwx, 0, fpu.last_opcode, fpu.last_ip, fpu.last_dp};
  static_assert(sizeof(state.stack) == sizeof(fpu.fpr));
  std::memcpy(state.stack.data(), fpu.fpr, sizeof(fpu.fpr));
  return state;
}

void SetX87State(const X87State& state, kvm_fpu* fpu) {
  const X87State::Environment& environment = state.environment;
  fpu->fcw = environment.control;
  fpu->fsw = environment.status;
  fpu->ftwx = environment.tags;
  fpu->last_opcode = environment.opcode;
  fpu->last_ip = environment.instruction;
  fpu->last_dp = environment.operand;
  std::memcpy(fpu->fpr, state.stack.data(), sizeof(fpu->fpr));
}

kvm_regs ToKvmRegs(const AssistRegisters& registers) {
  const auto& g = registers.gpr;
  kvm_regs regs{};
  regs.rax = g[0];
  regs.rcx = g[1];
  regs.rdx = g[2];
  regs.rbx = g[3];
  regs.rsp = g[4];
  regs.rbp = g[5];
  regs.rsi = g[6];
  regs.rdi = g[7];
  regs.r8 = g[8];
  regs.r9 = g[9];
  regs.r10 = g[10];
  regs.r11 = g[11];
  regs.r12 = g[12];
  regs.r13 = g[13];
  regs.r14 = g[14];
  regs.r15 = g[15];
  regs.rip = registers.rip;
  regs.rflags = registers.rflags;
  return regs;
}

}  // namespace faultline
