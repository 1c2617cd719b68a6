#include "vmm/assist/kvm_registers.h"

#include <gtest/gtest.h>

#include <cstring>

namespace faultline {
namespace {

TEST(KvmRegisters, ComeBackAsTheyWent) {
  kvm_regs regs{};
  // Each register a value of its own.
  auto* words = reinterpret_cast<uint64_t*>(&regs);
  for (uint64_t i = 0; i < sizeof(regs) / sizeof(uint64_t); ++i) words[i] = i + 1;
  const kvm_regs back = ToKvmRegs(ToAssistRegisters(regs, {}));
  EXPECT_EQ(std::memcmp(&back, &regs, sizeof(regs)), 0);
}

TEST(KvmRegisters, FollowTheArchitecturesEncoding) {
  kvm_regs regs{};
  regs.rax = 1;
  regs.rcx = 2;
  regs.rdx = 3;
  regs.rbx = 4;
  regs.rsp = 5;
  regs.r15 = 6;
  kvm_sregs sregs{};
  sregs.gs.base = 7;
  sregs.ss.dpl = 3;
  const AssistRegisters registers = ToAssistRegisters(regs, sregs);
  EXPECT_EQ(registers.gpr[1], 2U);
  EXPECT_EQ(registers.gpr[2], 3U);
  EXPECT_EQ(registers.gpr[3], 4U);
  EXPECT_EQ(registers.gpr[4], 5U);
  EXPECT_EQ(registers.gpr[15], 6U);
  EXPECT_EQ(registers.segment_base[AssistRegisters::kGs], 7U);
  EXPECT_EQ(registers.cpl, 3U);
}

TEST(KvmRegisters, TellTheWidthOfTheCode) {
  kvm_sregs sregs{};
  EXPECT_EQ(ToAssistRegisters({}, sregs).code_bits, 16U);
  sregs.cs.db = 1;
  EXPECT_EQ(ToAssistRegisters({}, sregs).code_bits, 32U);
  sregs.cs.db = 0;
  sregs.cs.l = 1;
  sregs.efer = 1U << 10;
  EXPECT_EQ(ToAssistRegisters({}, sregs).code_bits, 64U);
}

}  // namespace
}  // namespace faultline
