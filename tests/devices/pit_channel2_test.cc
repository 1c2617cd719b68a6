#include "devices/pit_channel2.h"

#include <gtest/gtest.h>

#include "tests/devices/register_access.h"

namespace faultline {
namespace {

constexpr uint8_t kGateOn = 0x01;
constexpr uint8_t kOutput = 0x20;

class PitChannel2Test : public testing::Test {
 protected:
  // Channel 2, low then high byte, mode 0, counting down from `count`.
  void StartOneShot(uint16_t count) {
    WriteRegister(pit_.gate(), 0, 1, kGateOn);
    WriteRegister(pit_.counter(), 3, 1, 0xb0);
    WriteRegister(pit_.counter(), 2, 1, count & 0xff);
    WriteRegister(pit_.counter(), 2, 1, count >> 8);
  }
  unsigned Count() {
    const auto low = static_cast<unsigned>(ReadRegister(pit_.counter(), 2, 1));
    return low | static_cast<unsigned>(ReadRegister(pit_.counter(), 2, 1)) << 8;
  }
  bool Output() { return (ReadRegister(pit_.gate(), 0, 1) & kOutput) != 0; }

  uint64_t now_ = 1'000'000;
  PitChannel2 pit_{[this] { return now_; }};
};

TEST_F(PitChannel2Test, CountsDownAtItsFrequencyAndRaisesItsOutputAtTheEnd) {
  StartOneShot(11932);  // 10 ms
  EXPECT_EQ(Count(), 11932U);
  EXPECT_FALSE(Output());
  now_ += 5'000'000;
  EXPECT_NEAR(Count(), 5966, 1);
  EXPECT_FALSE(Output());
  now_ += 5'001'000;
  EXPECT_TRUE(Output());
}

TEST_F(PitChannel2Test, RunsOnFromTheTopAfterTheEnd) {
  StartOneShot(100);
  now_ += 1'000'000'000ULL * 200 / PitChannel2::kFrequency + 1;
  EXPECT_NEAR(Count(), 0x10000 - 100, 1);
  EXPECT_TRUE(Output()) << "and the output stays up";
}

TEST_F(PitChannel2Test, StandsStillWithItsGateOff) {
  StartOneShot(1000);
  WriteRegister(pit_.gate(), 0, 1, 0);
  now_ += 10'000'000;
  EXPECT_EQ(Count(), 1000U);
  EXPECT_FALSE(Output());
}

TEST_F(PitChannel2Test, ALatchedCountDoesNotMoveUntilItIsRead) {
  StartOneShot(50000);
  now_ += 1'000'000;
  WriteRegister(pit_.counter(), 3, 1, 0x80);
  now_ += 10'000'000;
  const unsigned latched = Count();
  EXPECT_NEAR(latched, 50000 - 1193, 1);
  EXPECT_LT(Count(), latched - 10000);
}

TEST_F(PitChannel2Test, TheOtherChannelsReadAsZero) {
  WriteRegister(pit_.counter(), 3, 1, 0x34);
  WriteRegister(pit_.counter(), 0, 1, 0xff);
  EXPECT_EQ(ReadRegister(pit_.counter(), 0, 1), 0U);
}

}  // namespace
}  // namespace faultline
