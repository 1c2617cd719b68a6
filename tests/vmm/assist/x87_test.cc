// Floating point on a guest's state: 64-bit code, memory at AssistWorld::kLinear.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cfenv>

#include "tests/vmm/assist/assist_world.h"

namespace faultline {
namespace {

using Outcome = AssistResult::Outcome;
constexpr Gpa kAt = AssistWorld::kPhysical;

class X87 : public testing::Test {
 protected:
  X87() { world.registers.gpr[6] = AssistWorld::kLinear; }  // rsi
  void Run(const std::vector<uint8_t>& bytes) {
    const uint64_t before = world.registers.rip;
    ASSERT_EQ(world.Complete(bytes).outcome, Outcome::kCompleted);
    EXPECT_EQ(world.registers.rip, before + bytes.size());
  }
  X87State::Environment& environment() { return world.x87.state.environment; }
  AssistWorld world;
};

TEST_F(X87, LoadsMultipliesAndStores) {
  world.Write(kAt, 2.5F);
  Run({0xd9, 0x06});  // fld dword [rsi]
  world.Write(kAt, int16_t{-4});
  Run({0xde, 0x0e});  // fimul word [rsi]
  EXPECT_EQ(environment().tags, 0x80);
  Run({0xdb, 0x1e});  // fistp dword [rsi]
  EXPECT_EQ(world.Read<int32_t>(kAt), -10);
  EXPECT_EQ(environment().tags, 0);
  EXPECT_EQ(world.assist.count(AssistKind::kX87), 3U);
}

TEST_F(X87, KeepsTheStackFromInstructionToInstruction) {
  Run({0xd9, 0xe8});  // fld1
  Run({0xd9, 0xee});  // fldz
  Run({0xd9, 0xe8});  // fld1
  Run({0xde, 0xc1});  // faddp
  Run({0xde, 0xc1});  // faddp
  Run({0xdd, 0x1e});  // fstp qword [rsi]
  EXPECT_EQ(world.Read<double>(kAt), 2.0);
}

TEST_F(X87, RoundsAsTheGuestSaysAndLeavesTheHostsRoundingAlone) {
  world.Write(kAt, uint16_t{0xc7f});  // towards zero
  Run({0xd9, 0x2e});                  // fldcw [rsi]
  EXPECT_EQ(environment().control, 0xc7f);
  world.Write(kAt, 2.75);
  Run({0xdd, 0x06});  // fld qword [rsi]
  Run({0xdb, 0x1e});  // fistp dword [rsi]
  EXPECT_EQ(world.Read<int32_t>(kAt), 2);
  EXPECT_EQ(std::fegetround(), FE_TONEAREST);
}

TEST_F(X87, ComparesIntoTheFlags) {
  Run({0xd9, 0xe8});  // fld1
  Run({0xd9, 0xee});  // fldz
  world.registers.rflags = 0x202;
  Run({0xdb, 0xf1});  // fcomi st(1): 0 < 1
  EXPECT_EQ(world.registers.rflags, 0x203U);
  Run({0xd9, 0xc9});  // fxch
  Run({0xdb, 0xf1});
  EXPECT_EQ(world.registers.rflags, 0x202U);
}

TEST_F(X87, TellsTheStatusWordInAx) {
  Run({0xd9, 0xe8});  // fld1: the top of the stack is 7
  world.registers.gpr[0] = 0x1122334455667788;
  Run({0xdf, 0xe0});  // fnstsw ax
  EXPECT_EQ(world.registers.gpr[0], 0x1122334455663800U);
}

TEST_F(X87, DoesNotTakeTheVmmDownWithAnExceptionThatTheGuestUnmasked) {
  environment().control = 0x340;  // all unmasked
  Run({0xd9, 0xe8});              // fld1
  Run({0xd9, 0xee});              // fldz
  Run({0xde, 0xf9});              // fdivp: 1 / 0
  EXPECT_EQ(environment().control, 0x340);
  EXPECT_NE(environment().status & 4, 0) << "zero-divide is on record";
}

TEST_F(X87, FaultsOnMemoryThatIsNotThereAndChangesNothing) {
  Run({0xd9, 0xe8});  // fld1
  const uint8_t tags = environment().tags;
  world.registers.gpr[6] = AssistWorld::kLinear + 0x1000;
  const AssistResult result = world.Complete({0xdd, 0x1e});  // fstp qword [rsi]
  EXPECT_EQ(result.outcome, Outcome::kException);
  EXPECT_EQ(result.vector, 14);
  EXPECT_EQ(result.cr2, AssistWorld::kLinear + 0x1000);
  EXPECT_EQ(environment().tags, tags);
}

TEST_F(X87, IsNotAvailableWhileTheGuestSaysSo) {
  world.registers.cr0 |= 1U << 3;  // TS
  EXPECT_EQ(world.Complete({0xd9, 0xee}).vector, 7);
}

}  // namespace
}  // namespace faultline
