#include "devices/pci/msix.h"

#include <gtest/gtest.h>

#include "tests/devices/pci/fake_interrupts.h"
#include "tests/devices/register_access.h"

namespace faultline {
namespace {

constexpr uint64_t kPending = Msix::pba_offset().value;

class MsixTest : public testing::Test {
 protected:
  // Writes the message as Linux does, then unmasks it.
  void Program(unsigned vector, uint32_t data) {
    const uint64_t at = uint64_t{vector} * Msix::kEntrySize;
    WriteRegister(msix, at, 4, 0xfee01000);
    WriteRegister(msix, at + 4, 4, 0);
    WriteRegister(msix, at + 8, 4, data);
    WriteRegister(msix, at + 12, 4, 0);
  }
  FakeMsiHost host;
  Msix msix{host, 3};
};

TEST_F(MsixTest, AnUnmaskedVectorSendsItsMessage) {
  msix.SetControl(true, false);
  Program(1, 0x41);
  msix.Notify(1);
  msix.Notify(1);
  EXPECT_EQ(host.received(0x41), 2U);
  EXPECT_EQ(host.sends, 0U) << "by its own vector";
}

TEST_F(MsixTest, AMaskedVectorIsPendingUntilItIsUnmasked) {
  msix.SetControl(true, false);
  Program(2, 0x42);
  WriteRegister(msix, 2 * 16 + 12, 4, 1);
  msix.Notify(2);
  EXPECT_EQ(host.received(0x42), 0U);
  EXPECT_EQ(ReadRegister(msix, kPending, 8), 0b100U);
  WriteRegister(msix, 2 * 16 + 12, 4, 0);
  EXPECT_EQ(host.received(0x42), 1U);
  EXPECT_EQ(ReadRegister(msix, kPending, 8), 0U);
}

TEST_F(MsixTest, TheFunctionMaskHoldsBackEveryVector) {
  msix.SetControl(true, true);
  Program(0, 0x40);
  Program(1, 0x41);
  msix.Notify(0);
  msix.Notify(1);
  EXPECT_EQ(ReadRegister(msix, kPending, 8), 0b11U);
  msix.SetControl(true, false);
  EXPECT_EQ(host.received(0x40), 1U);
  EXPECT_EQ(host.received(0x41), 1U);
}

TEST_F(MsixTest, NothingIsSentWhileDisabledOrByAVectorThatDoesNotExist) {
  Program(0, 0x40);
  msix.Notify(0);
  msix.SetControl(true, false);
  msix.Notify(3);
  msix.Notify(0xffff);
  EXPECT_EQ(host.received(0x40), 0U);
}

TEST_F(MsixTest, MaskingAndUnmaskingCostTheHostNothing) {
  msix.SetControl(true, false);
  Program(0, 0x40);
  const unsigned before = host.set_messages;
  for (int i = 0; i < 5; ++i) {
    WriteRegister(msix, 12, 4, 1);
    WriteRegister(msix, 12, 4, 0);
  }
  EXPECT_EQ(host.set_messages, before);
  WriteRegister(msix, 12, 4, 1);
  WriteRegister(msix, 8, 4, 0x50);
  WriteRegister(msix, 12, 4, 0);
  EXPECT_EQ(host.set_messages, before + 1);
  msix.Notify(0);
  EXPECT_EQ(host.received(0x50), 1U);
}

TEST_F(MsixTest, AVectorTheHostHasNoRouteForIsSentTheSlowWay) {
  host.vectors_left = 0;
  msix.SetControl(true, false);
  Program(0, 0x40);
  msix.Notify(0);
  EXPECT_EQ(host.received(0x40), 1U);
  EXPECT_EQ(host.sends, 1U);
}

TEST_F(MsixTest, TheTableReadsBackWhatWasWrittenAtAnyWidth) {
  WriteRegister(msix, 16, 8, 0x00000012fee01003);
  EXPECT_EQ(ReadRegister(msix, 16, 8), 0x00000012fee01000U) << "the low two bits are zero";
  WriteRegister(msix, 24, 2, 0xbeef);
  EXPECT_EQ(ReadRegister(msix, 25, 1), 0xbeU);
  EXPECT_EQ(ReadRegister(msix, 28, 4), 1U) << "masked from the start";
  WriteRegister(msix, kPending, 8, ~0ULL);
  EXPECT_EQ(ReadRegister(msix, kPending, 8), 0U) << "pending bits are read-only";
  EXPECT_EQ(ReadRegister(msix, 3 * 16, 4), 0U) << "behind the last vector";
}

TEST_F(MsixTest, ResetMasksEverythingAndForgetsWhatWasPending) {
  msix.SetControl(true, true);
  Program(0, 0x40);
  msix.Notify(0);
  msix.Reset();
  EXPECT_FALSE(msix.enabled());
  EXPECT_EQ(ReadRegister(msix, kPending, 8), 0U);
  EXPECT_EQ(ReadRegister(msix, 0, 8), 0U);
  EXPECT_EQ(ReadRegister(msix, 12, 4), 1U);
}

}  // namespace
}  // namespace faultline
