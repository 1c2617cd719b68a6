#include "vmm/kvm/exit_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "vmm/kvm/kvm_constants.h"

namespace faultline {
namespace {

using testing::HasSubstr;
using testing::Not;

kvm_regs RegsAt(uint64_t rip) {
  kvm_regs regs{};
  regs.rip = rip;
  return regs;
}

TEST(ExitText, AnEmulationFailureNamesVcpuRipAndTheBytesOfTheInstruction) {
  auto run = std::make_unique<kvm_run>();
  run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
  run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
  run->emulation_failure.ndata = 3;
  run->emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
  run->emulation_failure.insn_size = 3;
  run->emulation_failure.insn_bytes[0] = 0x0f;
  run->emulation_failure.insn_bytes[1] = 0x01;
  run->emulation_failure.insn_bytes[2] = 0xca;
  const std::string text = InternalErrorText(3, *run, RegsAt(0xfff0));
  EXPECT_THAT(text, HasSubstr("vCPU 3"));
  EXPECT_THAT(text, HasSubstr("0xfff0"));
  EXPECT_THAT(text, HasSubstr("0f 01 ca"));
  EXPECT_THAT(text, HasSubstr("suberror 1"));
}

TEST(ExitText, AnInstructionSizeBeyondTheBufferIsNotBelieved) {
  auto run = std::make_unique<kvm_run>();
  run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
  run->emulation_failure.ndata = 3;
  run->emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
  run->emulation_failure.insn_size = 255;
  memset(run->emulation_failure.insn_bytes, 0x90, sizeof(run->emulation_failure.insn_bytes));
  const std::string text = InternalErrorText(0, *run, RegsAt(0));
  EXPECT_EQ(std::count(text.begin(), text.end(), '9'), 15) << text;
}

TEST(ExitText, WithoutTheBytesTheSentenceStaysWhole) {
  auto run = std::make_unique<kvm_run>();
  run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
  run->internal.ndata = 0;
  const std::string text = InternalErrorText(0, *run, RegsAt(0x10));
  EXPECT_THAT(text, HasSubstr("cannot emulate"));
  EXPECT_THAT(text, Not(HasSubstr("bytes")));
}

TEST(ExitText, UnreachableMemoryIsNamedWhereKvmTellsIt) {
  auto run = std::make_unique<kvm_run>();
  EXPECT_THAT(BadMemoryText(1, *run, RegsAt(0x20)), Not(HasSubstr("guest-physical")));
  run->exit_reason = kvm::kExitMemoryFault;
  const kvm::MemoryFaultExit fault{0, 0x123000, 0x1000};
  memcpy(&run->hw, &fault, sizeof(fault));
  EXPECT_THAT(BadMemoryText(1, *run, RegsAt(0x20)), HasSubstr("guest-physical 0x123000"));
}

}  // namespace
}  // namespace faultline
