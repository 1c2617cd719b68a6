#include "vmm/assist/guest_paging.h"

#include <gtest/gtest.h>

#include "tests/vmm/assist/assist_world.h"

namespace faultline {
namespace {

struct Paging : testing::Test {
  LinearResult Translate(uint64_t linear, AccessKind kind = AccessKind::kRead) {
    LinearMemory memory(world.memory(), world.registers);
    const LinearResult result = memory.Translate(linear, kind, &gpa);
    error_code = memory.fault().error_code;
    return result;
  }
  AssistWorld world;
  Gpa gpa;
  uint32_t error_code = 0;
};

TEST_F(Paging, TranslatesFourLevels) {
  EXPECT_EQ(Translate(AssistWorld::kLinear + 0x123), LinearResult::kOk);
  EXPECT_EQ(gpa, AssistWorld::kPhysical + Bytes(0x123));
}

TEST_F(Paging, TranslatesFiveLevels) {
  world.registers.cr4 |= 1U << 12;
  world.registers.cr3 = 0x6000;
  world.SetEntry(0x6000 + ((AssistWorld::kLinear >> 48) & 511) * 8, 0x1007);
  EXPECT_EQ(Translate(AssistWorld::kLinear + 0x123), LinearResult::kOk);
  EXPECT_EQ(gpa, AssistWorld::kPhysical + Bytes(0x123));
}

TEST_F(Paging, TranslatesLargePages) {
  world.SetEntry(0x3000, 0x40000000 | 0x87);
  EXPECT_EQ(Translate(AssistWorld::kLinear + 0x12345), LinearResult::kOk);
  EXPECT_EQ(gpa, Gpa(0x40012345));
  world.SetEntry(0x2000, 0x80000000 | 0x87);
  EXPECT_EQ(Translate(AssistWorld::kLinear + 0x2345678), LinearResult::kOk);
  EXPECT_EQ(gpa, Gpa(0x82345678));
}

TEST_F(Paging, TakesAddressesAsTheyAreWithPagingOff) {
  world.registers.cr0 = 1;
  EXPECT_EQ(Translate(0x1234567), LinearResult::kOk);
  EXPECT_EQ(gpa, Gpa(0x1234567));
}

TEST_F(Paging, FaultsAsTheProcessorDoes) {
  EXPECT_EQ(Translate(AssistWorld::kLinear + 0x1000, AccessKind::kWrite), LinearResult::kPageFault);
  EXPECT_EQ(error_code, 2U) << "write, not present";
  world.SetEntry(AssistWorld::kLeafEntry, AssistWorld::kPhysical.value | 3);
  world.registers.cpl = 3;
  EXPECT_EQ(Translate(AssistWorld::kLinear), LinearResult::kPageFault);
  EXPECT_EQ(error_code, 5U) << "user, present";
}

TEST_F(Paging, LetsTheKernelWriteToReadOnlyPagesWithoutWriteProtection) {
  world.SetEntry(AssistWorld::kLeafEntry, AssistWorld::kPhysical.value | 5);
  EXPECT_EQ(Translate(AssistWorld::kLinear, AccessKind::kWrite), LinearResult::kPageFault);
  world.registers.cr0 &= ~uint64_t{1U << 16};
  EXPECT_EQ(Translate(AssistWorld::kLinear, AccessKind::kWrite), LinearResult::kOk);
}

TEST_F(Paging, GivesUpOnTablesOutsideOfMemory) {
  world.SetEntry(0x3000, 0x7fffff007);
  EXPECT_EQ(Translate(AssistWorld::kLinear), LinearResult::kUnsupported);
  world.registers.efer = 0;
  EXPECT_EQ(Translate(AssistWorld::kLinear), LinearResult::kUnsupported) << "32-bit paging";
}

}  // namespace
}  // namespace faultline
