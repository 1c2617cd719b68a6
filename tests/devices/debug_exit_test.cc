#include "devices/debug_exit.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/devices/register_access.h"

namespace faultline {
namespace {

TEST(DebugExit, ReportsTheValueTheGuestWroteWhateverTheWidth) {
  std::vector<uint32_t> values;
  DebugExit port([&](uint32_t value) { values.push_back(value); });
  WriteRegister(port, 0, 1, 0x12);
  WriteRegister(port, 0, 2, 0x1234);
  WriteRegister(port, 0, 4, 0x12345678);
  WriteRegister(port, 0, 8, 0x9abcdef012345678);
  EXPECT_EQ(values, (std::vector<uint32_t>{0x12, 0x1234, 0x12345678, 0x12345678}));
}

TEST(DebugExit, OnlyTheFirstPortEndsTheMachine) {
  bool ended = false;
  DebugExit port([&](uint32_t) { ended = true; });
  for (uint64_t offset = 1; offset < DebugExit::kPortCount.value; ++offset) WriteRegister(port, offset, 1, 1);
  EXPECT_FALSE(ended);
}

TEST(DebugExit, ReadsAsZeroAndEndsNothing) {
  bool ended = false;
  DebugExit port([&](uint32_t) { ended = true; });
  EXPECT_EQ(ReadRegister(port, 0, 4), 0U);
  EXPECT_FALSE(ended);
}

TEST(DebugExit, ZeroIsACleanEndAndEverythingElseAnOddStatus) {
  EXPECT_EQ(DebugExit::StatusFor(0), 0);
  EXPECT_EQ(DebugExit::StatusFor(1), 3);
  EXPECT_EQ(DebugExit::StatusFor(3), 7);
  for (const uint32_t value : {0x80U, 0x100U, 0x80000000U, ~0U}) {
    EXPECT_EQ(DebugExit::StatusFor(value) % 2, 1) << value;
    EXPECT_LE(DebugExit::StatusFor(value), 255) << value;
  }
}

}  // namespace
}  // namespace faultline
