// What a guest sees of every virtio device: the PCI transport, life, features and notifications. The
// entropy source stands for all.
#include <gtest/gtest.h>

#include "devices/virtio/devices.h"
#include "devices/virtio/split_queue.h"
#include "tests/devices/virtio/virtio_world.h"

namespace faultline {
namespace {

constexpr uint64_t kVersion1 = uint64_t{1} << VIRTIO_F_VERSION_1;
constexpr uint64_t kEventIdx = uint64_t{1} << 29;
constexpr uint64_t kIndirectDesc = uint64_t{1} << 28;

class TransportTest : public testing::Test {
 protected:
  // A buffer of zeroes that comes back with something else in it.
  void ExpectService(VirtioDriver& on, bool indirect = false) {
    const Gpa at = on.Allocate(64);
    on.PutText(at, std::string(64, '\0'));
    const auto used = on.Transfer(0, {{at, 64, true}}, indirect);
    EXPECT_EQ(used.written, 64U);
    EXPECT_NE(on.GetText(at, 64), std::string(64, '\0'));
  }
  VirtioWorld world;
  VirtioDriver driver{world, world.pci.Add(MakeVirtioRng(world.environment()))};
};

TEST_F(TransportTest, TheFunctionIsAModernVirtioDevice) {
  EXPECT_EQ(driver.Config(pci::kVendorId, 4), 0x10441af4U);
  EXPECT_GE(driver.Config(pci::kRevision, 1), 1U);
  EXPECT_EQ(driver.Common(VIRTIO_PCI_COMMON_NUMQ, 2), 1U);
  EXPECT_EQ(driver.OfferedFeatures(), kVersion1 | kEventIdx | kIndirectDesc);
}

TEST_F(TransportTest, OnlyFeaturesThatWereOfferedAreAccepted) {
  EXPECT_FALSE(driver.Negotiate(kVersion1 | 1));
  EXPECT_FALSE(driver.Negotiate(kEventIdx)) << "without VERSION_1";
  EXPECT_TRUE(driver.Negotiate(kVersion1 | kEventIdx));
  driver.SetCommon(VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
  driver.SetCommon(VIRTIO_PCI_COMMON_GF, 4, 0xffffffff);
  EXPECT_EQ(driver.Common(VIRTIO_PCI_COMMON_GF, 4), kEventIdx) << "settled with FEATURES_OK";
}

TEST_F(TransportTest, ABufferIsServedAndInterruptsByItsVector) {
  driver.Start(0, 1);
  ExpectService(driver);
  EXPECT_TRUE(world.msi.WaitFor(VirtioWorld::kMsiData + 1, 1));
  EXPECT_EQ(driver.Isr(), 0) << "MSI-X in use";
}

TEST_F(TransportTest, EventIndicesAndIndirectTablesWork) {
  driver.Start(kEventIdx | kIndirectDesc, 1);
  for (int i = 0; i < 20; ++i) ExpectService(driver, i % 2 == 0);
}

TEST_F(TransportTest, ADeviceThatStoppedSaysWhyButNotForEver) {
  RankedMutex<LockRank::kControl> mutex;
  std::vector<std::string> reports;
  VirtioEnvironment environment = world.environment();
  environment.on_broken = [&](const std::string& device, const std::string& sentence) {
    MutexLock lock(mutex);
    reports.push_back(device + " " + sentence);
  };
  const auto count = [&] {
    MutexLock lock(mutex);
    return reports.size();
  };
  VirtioDriver other(world, world.pci.Add(MakeVirtioRng(environment)));
  for (unsigned i = 1; i <= VirtioEnvironment::kMaxReports + 2; ++i) {
    other.Start(0, 1);
    other.MakeAvailable(0, 8);  // no descriptor of a queue of eight
    other.Kick(0);
    ASSERT_TRUE(other.WaitNeedsReset());
    while (count() < std::min(i, VirtioEnvironment::kMaxReports)) std::this_thread::yield();
  }
  EXPECT_EQ(count(), VirtioEnvironment::kMaxReports);
  MutexLock lock(mutex);
  EXPECT_EQ(
      reports.front(),
      "virtio-rng stopped until its driver resets it: the driver gave it a descriptor index behind the end of the "
      "table");
}

TEST_F(TransportTest, WithoutMsixTheInterruptPinIsUsedAndTheIsrTellsWhy) {
  driver.Start(0, 1, 8, false);
  ExpectService(driver);
  while (!world.lines[1].level) std::this_thread::yield();
  EXPECT_EQ(driver.Isr(), 1);
  EXPECT_FALSE(world.lines[1].level) << "reading acknowledges";
  EXPECT_EQ(driver.Isr(), 0);
}

TEST_F(TransportTest, DoorbellsStandWhereTheDriverNotifiesAndFollowTheBar) {
  EXPECT_EQ(world.doorbells.count(), 0U);
  driver.Start(0, 1);
  EXPECT_EQ(world.doorbells.count(), 1U);
  ExpectService(driver);
  driver.MoveBar(0xe080'0000);
  EXPECT_TRUE(world.doorbells.Ring(0xe080'0000 + driver.notify_offset(0)));
  ExpectService(driver);
  driver.SetStatus(0);
  EXPECT_EQ(world.doorbells.count(), 0U) << "none while nobody drives the device";
}

TEST_F(TransportTest, WithoutDoorbellsNotificationsTakeTheOrdinaryWay) {
  world.doorbells.refuse = true;
  driver.Start(0, 1);
  EXPECT_EQ(world.doorbells.count(), 0U);
  ExpectService(driver);
}

TEST_F(TransportTest, ANotificationBeforeTheBarMovedIsNotLost) {
  driver.Start(0, 1);
  const Gpa at = driver.Allocate(8);
  driver.Add(0, {{at, 8, true}});
  driver.MoveBar(0xe080'0000);
  EXPECT_EQ(driver.WaitUsed(0).written, 8U);
}

TEST_F(TransportTest, ResetForgetsEverythingAndTheDeviceStartsAnew) {
  driver.Start(kEventIdx, 1);
  ExpectService(driver);
  driver.SetStatus(0);
  EXPECT_EQ(driver.Status(), 0);
  EXPECT_EQ(driver.Common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0U);
  EXPECT_EQ(driver.Common(VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0U);
  EXPECT_EQ(driver.Common(VIRTIO_PCI_COMMON_Q_SIZE, 2), SplitQueue::kMaxSize);
  EXPECT_EQ(driver.Common(VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffffU);
  driver.Start(0, 1);
  ExpectService(driver);
}

TEST_F(TransportTest, AMachineResetReachesTheDevice) {
  driver.Start(0, 1);
  world.pci.Reset();
  VirtioDriver again(world, 1);
  EXPECT_EQ(again.Status(), 0);
  again.Start(0, 1);
  ExpectService(again);
}

TEST_F(TransportTest, QueuesTakeNoBadLayoutAndNoChangeOnceEnabled) {
  driver.Negotiate(kVersion1);
  driver.SetCommon(VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
  driver.SetCommon(VIRTIO_PCI_COMMON_Q_SIZE, 2, 3);
  driver.SetCommon(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
  EXPECT_EQ(driver.Common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0U);
  driver.AddQueue(0, 8);
  EXPECT_EQ(driver.Common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1U);
  driver.SetCommon(VIRTIO_PCI_COMMON_Q_SIZE, 2, 16);
  driver.SetCommon(VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0);
  EXPECT_EQ(driver.Common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 8U);
  EXPECT_EQ(driver.Common(VIRTIO_PCI_COMMON_Q_DESCLO, 4), driver.queue(0).descriptors.value);
}

TEST_F(TransportTest, AQueueThatDoesNotExistHasNoSize) {
  driver.SetCommon(VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
  EXPECT_EQ(driver.Common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 0U);
  driver.SetCommon(VIRTIO_PCI_COMMON_Q_SIZE, 2, 8);
  driver.SetCommon(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
  EXPECT_EQ(driver.Common(VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffffU);
}

TEST_F(TransportTest, AVectorThatDoesNotExistIsRefused) {
  driver.SetCommon(VIRTIO_PCI_COMMON_MSIX, 2, 2);
  EXPECT_EQ(driver.Common(VIRTIO_PCI_COMMON_MSIX, 2), 0xffffU);
  driver.SetCommon(VIRTIO_PCI_COMMON_MSIX, 2, 1);
  EXPECT_EQ(driver.Common(VIRTIO_PCI_COMMON_MSIX, 2), 1U);
}

TEST_F(TransportTest, TheDeviceDoesNothingBeforeDriverOk) {
  driver.Negotiate(kVersion1);
  driver.AddQueue(0, 8);
  const Gpa at = driver.Allocate(8);
  driver.Add(0, {{at, 8, true}});
  driver.Kick(0);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(driver.UsedIndex(0), 0);
  driver.SetStatus(driver.Status() | VIRTIO_CONFIG_S_DRIVER_OK);
  EXPECT_EQ(driver.WaitUsed(0).written, 8U) << "and what was queued before is served then";
}

TEST_F(TransportTest, DriverOkCountsOnlyAfterFeaturesOk) {
  driver.SetStatus(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK);
  EXPECT_EQ(driver.Status() & VIRTIO_CONFIG_S_DRIVER_OK, 0);
}

TEST_F(TransportTest, ABrokenRingSetsNeedsResetInterruptsAndAResetHeals) {
  driver.Start(0, 1);
  driver.MakeAvailable(0, 99);
  driver.Kick(0);
  EXPECT_TRUE(driver.WaitNeedsReset());
  EXPECT_TRUE(world.msi.WaitFor(VirtioWorld::kMsiData, 1)) << "by the vector of configuration changes";
  EXPECT_EQ(world.doorbells.count(), 0U);
  driver.Start(0, 1);
  ExpectService(driver);
}

TEST_F(TransportTest, ABufferOutsideMemorySetsNeedsReset) {
  driver.Start(0, 1);
  driver.Add(0, {{Gpa(0x7000'0000), 16, true}});
  driver.Kick(0);
  EXPECT_TRUE(driver.WaitNeedsReset());
}

TEST_F(TransportTest, TheWindowInConfigurationSpaceReachesTheBar) {
  const unsigned at = driver.window;
  ASSERT_NE(at, 0U);
  driver.SetConfig(at + 8, 4, VIRTIO_PCI_COMMON_STATUS);
  driver.SetConfig(at + 12, 4, 1);
  driver.SetConfig(at + 16, 1, VIRTIO_CONFIG_S_ACKNOWLEDGE);
  EXPECT_EQ(driver.Status(), VIRTIO_CONFIG_S_ACKNOWLEDGE);
  EXPECT_EQ(driver.Config(at + 16, 1), VIRTIO_CONFIG_S_ACKNOWLEDGE);
  driver.SetConfig(at + 8, 4, 0xfffffffc);
  driver.SetConfig(at + 12, 4, 4);
  EXPECT_NO_FATAL_FAILURE(driver.Config(at + 16, 4)) << "outside the BAR";
}

TEST_F(TransportTest, NoSpaceForARequestOnlyBreaksWhatItMust) {
  driver.Start(0, 1);
  const Gpa at = driver.Allocate(16);
  EXPECT_EQ(driver.Transfer(0, {{at, 16, false}}).written, 0U) << "nothing writable: nothing written";
  ExpectService(driver);
}

}  // namespace
}  // namespace faultline
