#include "devices/rtc.h"

#include <gtest/gtest.h>

#include "tests/devices/register_access.h"

namespace faultline {
namespace {

// 2026-11-23 13:05:09 UTC, a Monday.
constexpr std::time_t kMoment = 1795439109;

class RtcTest : public testing::Test {
 protected:
  uint64_t Register(uint8_t index) {
    WriteRegister(rtc_, 0, 1, index);
    return ReadRegister(rtc_, 1, 1);
  }
  void SetRegister(uint8_t index, uint8_t value) {
    WriteRegister(rtc_, 0, 1, index);
    WriteRegister(rtc_, 1, 1, value);
  }
  Rtc rtc_{[] { return kMoment; }};
};

TEST_F(RtcTest, ShowsTheHostsTimeAsDecimalDigits) {
  EXPECT_EQ(Register(0x00), 0x09U);
  EXPECT_EQ(Register(0x02), 0x05U);
  EXPECT_EQ(Register(0x04), 0x13U);
  EXPECT_EQ(Register(0x06), 2U);
  EXPECT_EQ(Register(0x07), 0x23U);
  EXPECT_EQ(Register(0x08), 0x11U);
  EXPECT_EQ(Register(0x09), 0x26U);
  EXPECT_EQ(Register(0x32), 0x20U);
}

TEST_F(RtcTest, ShowsItInBinaryOrWithTwelveHoursWhenAsked) {
  SetRegister(0x0b, 0x06);
  EXPECT_EQ(Register(0x04), 13U);
  EXPECT_EQ(Register(0x07), 23U);
  SetRegister(0x0b, 0x00);
  EXPECT_EQ(Register(0x04), 0x81U) << "one in the afternoon";
}

TEST_F(RtcTest, IsNeverInTheMiddleOfAnUpdateAndItsBatteryIsGood) {
  EXPECT_EQ(Register(0x0a) & 0x80, 0U);
  EXPECT_EQ(Register(0x0d), 0x80U);
}

TEST_F(RtcTest, KeepsWhatIsWrittenToMemoryButNotToTheTime) {
  SetRegister(0x40, 0x5a);
  EXPECT_EQ(Register(0x40), 0x5aU);
  SetRegister(0x07, 0x01);
  EXPECT_EQ(Register(0x07), 0x23U);
}

TEST_F(RtcTest, IgnoresTheMaskOfTheNmiInTheIndex) {
  SetRegister(0x40, 0x77);
  EXPECT_EQ(Register(0x40 | 0x80), 0x77U);
}

}  // namespace
}  // namespace faultline
