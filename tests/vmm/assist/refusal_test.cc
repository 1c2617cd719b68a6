// The message for an instruction nobody can complete is one a person can act on.
#include "vmm/assist/refusal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/vmm/assist/assist_world.h"

namespace faultline {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(Refusal, NamesInstructionPlaceLevelAndRegisters) {
  AssistWorld world;
  world.registers.rip = 0xffffffff81000000;
  world.registers.gpr[2] = 0xabcd;
  const std::vector<uint8_t> bytes = {0xc5, 0xfe, 0x6f, 0x02, 0x90};
  const std::string text = world.assist.Complete(world.registers, bytes, 3).sentence;
  EXPECT_THAT(text, AllOf(HasSubstr("'vmovdqu ymm0, [rdx]' (bytes c5 fe 6f 02)"), HasSubstr("vCPU 3"),
                          HasSubstr("RIP 0xffffffff81000000, CPL 0"), HasSubstr("clearcpuid=avx,avx2"),
                          HasSubstr("RDX 0xabcd"), HasSubstr("CR3 0x1000"), Not(HasSubstr("\n"))));
}

TEST(Refusal, NamesTheWordsThatAvoidTheInstruction) {
  AssistWorld world;
  const auto advice = [&](std::vector<uint8_t> bytes) { return world.Complete(std::move(bytes)).sentence; };
  EXPECT_THAT(advice({0x0f, 0xae, 0x28}), HasSubstr("with noxsave on"));                          // xrstor [rax]
  EXPECT_THAT(advice({0xf3, 0x48, 0x0f, 0xae, 0xc8}), HasSubstr("with clearcpuid=fsgsbase on"));  // rdgsbase rax
  EXPECT_THAT(advice({0x66, 0x0f, 0x38, 0xdc, 0xc1}), HasSubstr("with clearcpuid=aes on"));       // aesenc
  EXPECT_THAT(advice({0x62, 0xf1, 0xfe, 0x48, 0x6f, 0x00}), HasSubstr("clearcpuid=avx512f"));     // vmovdqu64 zmm0
  EXPECT_THAT(advice({0xc4, 0xe2, 0xf0, 0xf2, 0xc2}), HasSubstr("clearcpuid=bmi1"));              // andn
  EXPECT_THAT(advice({0x66, 0x0f, 0x38, 0x82, 0x00}), HasSubstr("clearcpuid=invpcid"));
  EXPECT_THAT(advice({0x0f, 0x01, 0xc1}), HasSubstr("with nopv on"));  // vmcall
  EXPECT_THAT(advice({0x0f, 0x01, 0xd9}), HasSubstr("with nopv on"));  // vmmcall
}

TEST(Refusal, TellsProgramsFromKernels) {
  AssistWorld world;
  EXPECT_THAT(world.Complete({0x0f, 0xa2}).sentence, HasSubstr("use another guest kernel"));
  world.registers.cpl = 3;
  EXPECT_THAT(world.Complete({0x0f, 0xa2}).sentence, HasSubstr("it is a program's"));
}

TEST(Refusal, SaysWhenThereIsNoInstruction) {
  AssistWorld world;
  EXPECT_THAT(world.Complete({0x06, 0x07}).sentence, HasSubstr("an instruction that is none (bytes 06 07)"));
  world.registers.rip = 0x10;
  EXPECT_THAT(world.Complete({}).sentence, HasSubstr("in memory that cannot be read"));
}

}  // namespace
}  // namespace faultline
