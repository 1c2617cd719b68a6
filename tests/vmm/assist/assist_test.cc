// Each completed instruction against what the architecture's manual says of it.
#include "vmm/assist/assist.h"

#include <gtest/gtest.h>

#include "tests/vmm/assist/assist_world.h"

namespace faultline {
namespace {

using Outcome = AssistResult::Outcome;

enum : size_t { kRax, kRcx, kRdx, kRbx, kRsp, kRbp, kRsi, kRdi, kR8 };

constexpr uint64_t kZero = 1U << 6;
constexpr uint64_t kCarry = 1U << 0;
constexpr uint64_t kAlignmentCheck = 1U << 18;

TEST(Assist, RaisesABreakpointBehindInt3) {
  AssistWorld world;
  world.registers.rip = 0x1000;
  const AssistResult result = world.Complete({0xcc});
  EXPECT_EQ(result.outcome, Outcome::kException);
  EXPECT_EQ(result.vector, 3);
  EXPECT_FALSE(result.error_code);
  EXPECT_EQ(world.registers.rip, 0x1001U);
  EXPECT_EQ(world.assist.count(AssistKind::kInt3), 1U);
}

TEST(Assist, PassesFwaitUnlessTheCoprocessorIsSwitchedAway) {
  AssistWorld world;
  EXPECT_EQ(world.Complete({0x9b}).outcome, Outcome::kCompleted);
  EXPECT_EQ(world.registers.rip, 1U);
  world.registers.cr0 |= 1U << 1 | 1U << 3;
  const AssistResult result = world.Complete({0x9b});
  EXPECT_EQ(result.outcome, Outcome::kException);
  EXPECT_EQ(result.vector, 7);
  EXPECT_EQ(world.registers.rip, 1U) << "a fault leaves RIP at the instruction";
}

TEST(Assist, ClacAndStacChangeTheAlignmentCheckFlagAndNothingElse) {
  AssistWorld world;
  world.registers.rflags = 0x246;
  EXPECT_EQ(world.Complete({0x0f, 0x01, 0xcb}).outcome, Outcome::kCompleted);
  EXPECT_EQ(world.registers.rflags, 0x246 | kAlignmentCheck);
  EXPECT_EQ(world.Complete({0x0f, 0x01, 0xca}).outcome, Outcome::kCompleted);
  EXPECT_EQ(world.registers.rflags, 0x246U);
  EXPECT_EQ(world.registers.rip, 6U);
}

TEST(Assist, ClacIsAnInvalidOpcodeForPrograms) {
  AssistWorld world;
  world.registers.cpl = 3;
  const AssistResult result = world.Complete({0x0f, 0x01, 0xca});
  EXPECT_EQ(result.outcome, Outcome::kException);
  EXPECT_EQ(result.vector, 6);
}

TEST(Assist, PopcntCountsBitsOfEachWidth) {
  AssistWorld world;
  world.registers.gpr[kRdi] = 0xffff00000001000f;
  world.registers.gpr[kRax] = 0x1111111111111111;
  world.registers.rflags = 2 | kCarry;
  EXPECT_EQ(world.Complete({0xf3, 0x48, 0x0f, 0xb8, 0xc7}).outcome, Outcome::kCompleted);  // popcnt rax, rdi
  EXPECT_EQ(world.registers.gpr[kRax], 21U);
  EXPECT_EQ(world.registers.rflags, 2U);
  world.registers.gpr[kRax] = 0x1111111111111111;
  world.Complete({0xf3, 0x0f, 0xb8, 0xc7});  // popcnt eax, edi
  EXPECT_EQ(world.registers.gpr[kRax], 5U) << "a 32-bit result clears the upper half";
  world.registers.gpr[kRax] = 0x1111111111111111;
  world.Complete({0x66, 0xf3, 0x0f, 0xb8, 0xc7});  // popcnt ax, di
  EXPECT_EQ(world.registers.gpr[kRax], 0x1111111111110004U) << "a 16-bit result leaves the rest alone";
  EXPECT_EQ(world.registers.rip, 14U);
}

TEST(Assist, PopcntOfZeroSetsTheZeroFlag) {
  AssistWorld world;
  world.Complete({0xf3, 0x4d, 0x0f, 0xb8, 0xc0});  // popcnt r8, r8
  EXPECT_EQ(world.registers.gpr[kR8], 0U);
  EXPECT_EQ(world.registers.rflags & kZero, kZero);
}

TEST(Assist, PopcntReadsMemoryThroughThePageTables) {
  AssistWorld world;
  world.Write(AssistWorld::kPhysical + Bytes(0x120), uint64_t{0xff00ff});
  world.registers.gpr[kRsi] = AssistWorld::kLinear + 0x100;
  world.registers.gpr[kRcx] = 4;
  EXPECT_EQ(world.Complete({0xf3, 0x48, 0x0f, 0xb8, 0x44, 0xce, 0x00}).outcome, Outcome::kCompleted);  // [rsi+rcx*8]
  EXPECT_EQ(world.registers.gpr[kRax], 16U);
}

TEST(Assist, AddsTheBaseOfGsAndOfRipToAnAddress) {
  AssistWorld world;
  world.Write(AssistWorld::kPhysical + Bytes(0x40), uint64_t{7});
  world.registers.segment_base[AssistRegisters::kGs] = AssistWorld::kLinear;
  world.registers.segment_base[AssistRegisters::kDs] = 0x123456;              // counts for nothing in 64-bit mode
  world.Complete({0x65, 0xf3, 0x48, 0x0f, 0xb8, 0x04, 0x25, 0x40, 0, 0, 0});  // popcnt rax, gs:[0x40]
  EXPECT_EQ(world.registers.gpr[kRax], 3U);
  world.registers.rip = AssistWorld::kLinear;
  world.registers.gpr[kRax] = 0;
  world.Complete({0xf3, 0x48, 0x0f, 0xb8, 0x05, 0x37, 0, 0, 0});  // popcnt rax, [rip+0x37], nine bytes long
  EXPECT_EQ(world.registers.gpr[kRax], 3U);
}

TEST(Assist, GivesTheGuestItsPageFault) {
  AssistWorld world;
  world.registers.gpr[kRdi] = AssistWorld::kLinear + 0x1010;
  const AssistRegisters before = world.registers;
  const AssistResult result = world.Complete({0xf3, 0x48, 0x0f, 0xb8, 0x07});
  EXPECT_EQ(result.outcome, Outcome::kException);
  EXPECT_EQ(result.vector, 14);
  EXPECT_EQ(result.error_code, 0U);
  EXPECT_EQ(result.cr2, AssistWorld::kLinear + 0x1010);
  EXPECT_EQ(world.registers, before);
}

struct Compared {
  uint64_t low = 0;
  uint64_t high = 0;
  friend bool operator==(const Compared&, const Compared&) = default;
};
const std::vector<uint8_t> kCmpxchg16b = {0xf0, 0x48, 0x0f, 0xc7, 0x0f};  // lock cmpxchg16b [rdi]

TEST(Assist, Cmpxchg16bExchangesWhenEqual) {
  AssistWorld world;
  world.Write(AssistWorld::kPhysical + Bytes(0x20), Compared{1, 2});
  world.registers.gpr[kRdi] = AssistWorld::kLinear + 0x20;
  world.registers.gpr[kRax] = 1;
  world.registers.gpr[kRdx] = 2;
  world.registers.gpr[kRbx] = 3;
  world.registers.gpr[kRcx] = 4;
  EXPECT_EQ(world.Complete(kCmpxchg16b).outcome, Outcome::kCompleted);
  EXPECT_EQ(world.Read<Compared>(AssistWorld::kPhysical + Bytes(0x20)), (Compared{3, 4}));
  EXPECT_EQ(world.registers.rflags & kZero, kZero);
  EXPECT_EQ(world.Read<uint64_t>(Gpa(AssistWorld::kLeafEntry)) & 0x60, 0x60U) << "accessed and dirty";
}

TEST(Assist, Cmpxchg16bLoadsWhatItFindsWhenDifferent) {
  AssistWorld world;
  world.Write(AssistWorld::kPhysical, Compared{1, 2});
  world.registers.gpr[kRdi] = AssistWorld::kLinear;
  world.registers.gpr[kRax] = 1;
  world.registers.gpr[kRdx] = 9;
  world.registers.rflags |= kZero;
  world.Complete(kCmpxchg16b);
  EXPECT_EQ(world.registers.gpr[kRdx], 2U);
  EXPECT_EQ(world.registers.rflags & kZero, 0U);
  EXPECT_EQ(world.Read<Compared>(AssistWorld::kPhysical), (Compared{1, 2}));
}

TEST(Assist, Cmpxchg16bFaultsWhenMisalignedOrReadOnly) {
  AssistWorld world;
  world.registers.gpr[kRdi] = AssistWorld::kLinear + 8;
  EXPECT_EQ(world.Complete(kCmpxchg16b).vector, 13);
  world.SetEntry(AssistWorld::kLeafEntry, AssistWorld::kPhysical.value | 5);
  world.registers.gpr[kRdi] = AssistWorld::kLinear;
  const AssistResult result = world.Complete(kCmpxchg16b);
  EXPECT_EQ(result.vector, 14);
  EXPECT_EQ(result.error_code, 3U) << "present, write";
}

TEST(Assist, LoadsAndStoresTheControlRegisterOfSse) {
  AssistWorld world;
  world.registers.cr4 |= 0x200;  // OSFXSR
  world.registers.gpr[4] = AssistWorld::kLinear;
  world.Write<uint32_t>(AssistWorld::kPhysical + Bytes(4), 0x9fc0);
  const std::vector<uint8_t> ldmxcsr{0x0f, 0xae, 0x54, 0x24, 0x04};  // [rsp+4]
  const std::vector<uint8_t> stmxcsr{0x0f, 0xae, 0x5c, 0x24, 0x08};  // [rsp+8]
  EXPECT_EQ(world.Complete(ldmxcsr).outcome, AssistResult::Outcome::kCompleted);
  EXPECT_EQ(world.x87.mxcsr, 0x9fc0U);
  EXPECT_EQ(world.registers.rip, 5U);
  EXPECT_EQ(world.Complete(stmxcsr).outcome, AssistResult::Outcome::kCompleted);
  EXPECT_EQ(world.Read<uint32_t>(AssistWorld::kPhysical + Bytes(8)), 0x9fc0U);
  EXPECT_EQ(world.assist.count(AssistKind::kMxcsr), 2U);

  world.Write<uint32_t>(AssistWorld::kPhysical + Bytes(4), 0x10000);
  const AssistResult reserved = world.Complete(ldmxcsr);
  EXPECT_EQ(reserved.outcome, AssistResult::Outcome::kException);
  EXPECT_EQ(reserved.vector, 13);
  EXPECT_EQ(world.x87.mxcsr, 0x9fc0U);
  world.registers.cr0 |= 8;  // TS
  EXPECT_EQ(world.Complete(ldmxcsr).vector, 7);
  world.registers.cr4 &= ~uint64_t{0x200};
  EXPECT_EQ(world.Complete(ldmxcsr).vector, 6);
}

TEST(Assist, FetchesTheInstructionItselfWhenKvmDidNotGiveIt) {
  AssistWorld world;
  world.registers.rip = AssistWorld::kLinear + 0xfff;  // the last byte that is mapped
  world.Write(AssistWorld::kPhysical + Bytes(0xfff), uint8_t{0xcc});
  EXPECT_EQ(world.Complete({}).vector, 3);
}

TEST(Assist, ChangesNothingWhenItRefuses) {
  AssistWorld world;
  world.registers.rip = 0x1234;
  const AssistRegisters before = world.registers;
  const AssistResult result = world.Complete({0x0f, 0xa2});  // cpuid
  EXPECT_EQ(result.outcome, Outcome::kRefused);
  EXPECT_NE(result.sentence, "");
  EXPECT_EQ(world.registers, before);
}

// Whatever the bytes are, it ends with one of its outcomes.
TEST(Assist, TakesAnyBytes) {
  AssistWorld world;
  uint32_t random = 1;
  for (int i = 0; i < 20000; ++i) {
    std::vector<uint8_t> bytes(1 + i % 15);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>((random = random * 1664525 + 1013904223) >> 24);
    world.registers.code_bits = i % 3 == 0 ? 16 : i % 3 == 1 ? 32 : 64;
    const AssistResult result = world.Complete(bytes);
    EXPECT_EQ(result.sentence.empty(), result.outcome != Outcome::kRefused);
  }
}

}  // namespace
}  // namespace faultline
