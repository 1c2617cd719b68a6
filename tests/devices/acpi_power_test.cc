#include "devices/acpi_power.h"

#include <gtest/gtest.h>

#include "devices/i8042.h"
#include "devices/panic_port.h"
#include "tests/devices/register_access.h"

namespace faultline {
namespace {

class Line final : public IrqLine {
 public:
  void SetLevel(bool asserted) noexcept override { up = asserted; }
  bool up = false;
};

class AcpiPowerTest : public testing::Test {
 protected:
  Line line_;
  int offs_ = 0;
  int resets_ = 0;
  AcpiPower power_{{[this] { ++offs_; }, [this] { ++resets_; }}, line_};
};

TEST_F(AcpiPowerTest, SoftOffNeedsItsTypeAndTheEnableBit) {
  WriteRegister(power_, AcpiPower::kSleepControl, 1, 5 << 2);
  WriteRegister(power_, AcpiPower::kSleepControl, 1, 1 << 5);
  WriteRegister(power_, AcpiPower::kSleepStatus, 1, 5 << 2 | 1 << 5);
  EXPECT_EQ(offs_, 0);
  WriteRegister(power_, AcpiPower::kSleepControl, 1, 5 << 2 | 1 << 5);
  EXPECT_EQ(offs_, 1);
}

TEST_F(AcpiPowerTest, ResetTakesTheValueOfTheTablesAlone) {
  WriteRegister(power_, AcpiPower::kReset, 1, 0);
  WriteRegister(power_, AcpiPower::kReset, 1, 6);
  EXPECT_EQ(resets_, 0);
  WriteRegister(power_, AcpiPower::kReset, 1, AcpiPower::kResetValue);
  EXPECT_EQ(resets_, 1);
}

TEST_F(AcpiPowerTest, AnEventHoldsTheLineUpUntilItIsRead) {
  power_.Raise(AcpiPower::kPowerButton);
  power_.Raise(AcpiPower::kMemory);
  EXPECT_TRUE(line_.up);
  EXPECT_EQ(ReadRegister(power_, AcpiPower::kEvents, 1), AcpiPower::kPowerButton | AcpiPower::kMemory);
  EXPECT_FALSE(line_.up);
  EXPECT_EQ(ReadRegister(power_, AcpiPower::kEvents, 1), 0U);
}

TEST(I8042Test, OnlyThePulseOfItsResetLineDoesAnything) {
  int resets = 0;
  I8042 keyboard([&] { ++resets; });
  WriteRegister(keyboard, 0, 1, 0xd1);
  EXPECT_EQ(resets, 0);
  EXPECT_EQ(ReadRegister(keyboard, 0, 1), 0U) << "its buffers are empty";
  WriteRegister(keyboard, 0, 1, 0xfe);
  EXPECT_EQ(resets, 1);
}

TEST(PanicPortTest, TellsWhatItUnderstandsAndPassesAPanicOn) {
  int panics = 0;
  PanicPort port([&] { ++panics; });
  EXPECT_EQ(ReadRegister(port, 0, 1), 1U);
  WriteRegister(port, 0, 1, 2);
  EXPECT_EQ(panics, 0) << "a crash kernel takes over";
  WriteRegister(port, 0, 1, 1);
  EXPECT_EQ(panics, 1);
}

}  // namespace
}  // namespace faultline
