#include "devices/memory_hotplug.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guestmem/error.h"
#include "tests/devices/register_access.h"

namespace faultline {
namespace {

using testing::StrictMock;

class MockListener : public MemoryHotplugListener {
 public:
  MOCK_METHOD(void, OnEject, (unsigned slot), (override));
  MOCK_METHOD(void, OnRequestSeen, (unsigned slot), (override));
  MOCK_METHOD(void, OnOst, (unsigned slot, uint32_t event, uint32_t status), (override));
  MOCK_METHOD(void, OnEventRaised, (), (override));
};

constexpr GpaRange kRange{Gpa(0x1'4000'0000), Bytes(0x1'0020'0000)};

class MemoryHotplugTest : public testing::Test {
 protected:
  void Select(uint32_t slot) { WriteRegister(hotplug_, 0x00, 4, slot); }
  uint64_t Status() { return ReadRegister(hotplug_, 0x14, 1); }
  void Control(uint8_t bits) { WriteRegister(hotplug_, 0x14, 1, bits); }
  void InsertQuietly(unsigned slot, GpaRange range = kRange) {
    EXPECT_CALL(listener_, OnEventRaised());
    hotplug_.Insert(slot, range, 0);
    testing::Mock::VerifyAndClearExpectations(&listener_);
    Select(slot);
    Control(0x02);
  }

  StrictMock<MockListener> listener_;
  MemoryHotplug hotplug_{4, listener_};
};

TEST_F(MemoryHotplugTest, AnInsertedDeviceShowsItsPlaceSizeAndNode) {
  EXPECT_CALL(listener_, OnEventRaised());
  hotplug_.Insert(2, kRange, 7);
  Select(2);
  EXPECT_EQ(ReadRegister(hotplug_, 0x00, 4), 0x4000'0000U);
  EXPECT_EQ(ReadRegister(hotplug_, 0x04, 4), 1U);
  EXPECT_EQ(ReadRegister(hotplug_, 0x08, 4), 0x0020'0000U);
  EXPECT_EQ(ReadRegister(hotplug_, 0x0c, 4), 1U);
  EXPECT_EQ(ReadRegister(hotplug_, 0x10, 4), 7U);
  EXPECT_EQ(Status(), 0x03U) << "enabled, insert event";
  Select(1);
  EXPECT_EQ(Status(), 0U);
}

TEST_F(MemoryHotplugTest, TheGuestAcknowledgesAnInsertEvent) {
  EXPECT_CALL(listener_, OnEventRaised());
  hotplug_.Insert(0, kRange, 0);
  Select(0);
  Control(0x02);
  EXPECT_EQ(Status(), 0x01U);
}

TEST_F(MemoryHotplugTest, AnEjectRequestRaisesTheRemoveEventUntilItIsAcknowledged) {
  InsertQuietly(1);
  EXPECT_CALL(listener_, OnEventRaised());
  EXPECT_TRUE(hotplug_.RequestEject(1));
  EXPECT_EQ(Status(), 0x05U);
  EXPECT_CALL(listener_, OnRequestSeen(1)).Times(1);
  Control(0x04);
  EXPECT_EQ(Status(), 0x01U);
  Control(0x04);  // nothing stands there any more
}

TEST_F(MemoryHotplugTest, TheEjectBitReachesTheListenerAndLeavesTheSlotToIt) {
  InsertQuietly(1);
  EXPECT_CALL(listener_, OnEject(1));
  Control(0x08);
  EXPECT_EQ(Status(), 0x11U) << "ejected, and still there until the machine took it away";
}

TEST_F(MemoryHotplugTest, EjectingAnEmptySlotDoesNothing) {
  Select(3);
  Control(0x08);
}

TEST_F(MemoryHotplugTest, OneControlWriteDoesOneThingOnly) {
  EXPECT_CALL(listener_, OnEventRaised()).Times(2);
  hotplug_.Insert(0, kRange, 0);
  hotplug_.RequestEject(0);
  Select(0);
  Control(0x0e);  // all at once: acknowledges the insertion, and neither the removal nor an eject
  EXPECT_EQ(Status(), 0x05U);
}

TEST_F(MemoryHotplugTest, AStatusReportArrivesWithItsEventAndStaysOnRecord) {
  InsertQuietly(2);
  EXPECT_CALL(listener_, OnOst(2, ost::kEjectionRequest, ost::kInUseByApplication));
  WriteRegister(hotplug_, 0x04, 4, 3);
  WriteRegister(hotplug_, 0x08, 4, 0x81);
  ASSERT_TRUE(hotplug_.slot(2).has_value());
  EXPECT_EQ(hotplug_.slot(2)->ost_event, 3U);
  EXPECT_EQ(hotplug_.slot(2)->ost_status, 0x81U);
}

TEST_F(MemoryHotplugTest, RemovingAnEjectedDeviceRaisesNoEvent) {
  InsertQuietly(0);
  EXPECT_CALL(listener_, OnEject(0));
  Control(0x08);
  EXPECT_TRUE(hotplug_.Remove(0));
  EXPECT_EQ(Status(), 0U);
  EXPECT_FALSE(hotplug_.Remove(0));
}

TEST_F(MemoryHotplugTest, RemovingADeviceBySurpriseRaisesAnEvent) {
  InsertQuietly(0);
  EXPECT_CALL(listener_, OnEventRaised());
  EXPECT_TRUE(hotplug_.Remove(0));
  EXPECT_EQ(Status(), 0U);
}

TEST_F(MemoryHotplugTest, CancellingARequestTheGuestHasNotSeenWithdrawsIt) {
  InsertQuietly(0);
  EXPECT_CALL(listener_, OnEventRaised());
  hotplug_.RequestEject(0);
  EXPECT_TRUE(hotplug_.CancelEject(0));
  EXPECT_EQ(Status(), 0x01U);
}

TEST_F(MemoryHotplugTest, CancellingAfterTheGuestEjectedHandsTheMemoryBack) {
  InsertQuietly(0);
  EXPECT_CALL(listener_, OnEject(0));
  Control(0x08);
  EXPECT_CALL(listener_, OnEventRaised());
  EXPECT_TRUE(hotplug_.CancelEject(0));
  EXPECT_EQ(Status(), 0x03U) << "an insert event, so that the guest takes it into use again";
}

TEST_F(MemoryHotplugTest, RequestsForEmptyOrUnknownSlotsAreRefused) {
  EXPECT_FALSE(hotplug_.RequestEject(0));
  EXPECT_FALSE(hotplug_.CancelEject(0));
  EXPECT_FALSE(hotplug_.Remove(0));
  EXPECT_FALSE(hotplug_.RequestEject(4));
  EXPECT_FALSE(hotplug_.CancelEject(~0U));
  EXPECT_FALSE(hotplug_.Remove(4));
  EXPECT_FALSE(hotplug_.slot(4).has_value());
  EXPECT_THROW(hotplug_.Insert(4, kRange, 0), Error);
}

TEST_F(MemoryHotplugTest, AnOccupiedSlotTakesNoSecondDevice) {
  InsertQuietly(0);
  EXPECT_THROW(hotplug_.Insert(0, {Gpa(0), Bytes(4096)}, 1), Error);
  EXPECT_EQ(hotplug_.slot(0)->range, kRange);
}

TEST_F(MemoryHotplugTest, TheLowestFreeSlotIsFound) {
  EXPECT_EQ(hotplug_.FindFreeSlot(), 0U);
  InsertQuietly(0);
  InsertQuietly(1);
  InsertQuietly(3);
  EXPECT_EQ(hotplug_.FindFreeSlot(), 2U);
  InsertQuietly(2);
  EXPECT_EQ(hotplug_.FindFreeSlot(), std::nullopt);
}

TEST_F(MemoryHotplugTest, SelectingASlotThatDoesNotExistReadsZeroAndIgnoresWrites) {
  InsertQuietly(0);
  for (const uint32_t slot : {4U, 5U, 0x80000000U, ~0U}) {
    Select(slot);
    for (uint64_t offset = 0; offset < MemoryHotplug::kPortCount.value; ++offset) {
      EXPECT_EQ(ReadRegister(hotplug_, offset, 1), 0U) << slot << " " << offset;
    }
    WriteRegister(hotplug_, 0x04, 4, 3);
    WriteRegister(hotplug_, 0x08, 4, 0x81);  // a strict mock: no report may come of it
    Control(0x08);
  }
  EXPECT_EQ(hotplug_.slot(0)->ost_event, 0U);
}

TEST_F(MemoryHotplugTest, ReservedBytesReadZeroAndReservedWritesDoNothing) {
  InsertQuietly(0);
  const uint64_t status = Status();
  for (const uint64_t offset : {0x15ULL, 0x16ULL, 0x17ULL}) EXPECT_EQ(ReadRegister(hotplug_, offset, 1), 0U);
  for (const uint64_t offset : {0x0cULL, 0x10ULL, 0x13ULL, 0x15ULL, 0x17ULL}) {
    WriteRegister(hotplug_, offset, 1, 0xff);
  }
  Control(0x01);  // the reserved control bit
  Control(0xf0);
  EXPECT_EQ(Status(), status);
}

TEST(MemoryHotplug, AMachineWithoutSlotsAnswersHarmlessly) {
  StrictMock<MockListener> listener;
  MemoryHotplug hotplug(0, listener);
  EXPECT_EQ(ReadRegister(hotplug, 0x14, 1), 0U);
  WriteRegister(hotplug, 0x14, 1, 0x0e);
  WriteRegister(hotplug, 0x08, 4, 1);
  EXPECT_EQ(hotplug.FindFreeSlot(), std::nullopt);
}

TEST(MemoryHotplug, TooManySlotsAreRefused) {
  StrictMock<MockListener> listener;
  EXPECT_NO_THROW(MemoryHotplug(256, listener));
  EXPECT_THROW(MemoryHotplug(257, listener), UsageError);
}

TEST(Ost, PendingIsNoRefusalAndBusyIs) {
  EXPECT_FALSE(ost::IsRefusal(ost::kEjectionRequest, ost::kSuccess));
  EXPECT_FALSE(ost::IsRefusal(ost::kEjectionRequest, ost::kEjectionPending));
  EXPECT_TRUE(ost::IsRefusal(ost::kEjectionRequest, ost::kInUseByApplication));
  EXPECT_TRUE(ost::IsRefusal(ost::kEjectionRequest, ost::kDeviceBusy));
  EXPECT_TRUE(ost::IsRefusal(ost::kOspmEjection, ost::kFailure));
  EXPECT_TRUE(ost::IsRefusal(ost::kDeviceCheck, 0x84));
}

TEST(Ost, EveryStatusHasWords) {
  EXPECT_EQ(ost::StatusText(ost::kEjectionRequest, 0x81), "device in use by application");
  EXPECT_EQ(ost::StatusText(ost::kEjectionRequest, 0x82), "device busy");
  EXPECT_EQ(ost::StatusText(ost::kDeviceCheck, 0), "success");
  EXPECT_EQ(ost::StatusText(ost::kDeviceCheck, 0x81), "status 129") << "an ejection code on an insertion";
  EXPECT_EQ(ost::StatusText(ost::kEjectionRequest, 0xffffffff), "status 4294967295");
}

}  // namespace
}  // namespace faultline
