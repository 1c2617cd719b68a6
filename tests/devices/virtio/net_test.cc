#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "devices/virtio/devices.h"
#include "guestmem/error.h"
#include "tests/devices/virtio/virtio_world.h"

namespace faultline {
namespace {

constexpr unsigned kReceive = 0;
constexpr unsigned kTransmit = 1;
constexpr uint64_t kMac = uint64_t{1} << 5;
constexpr uint64_t kStatus = uint64_t{1} << 16;
constexpr size_t kHeader = 12;

class NetTest : public testing::Test {
 protected:
  NetTest() {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) throw Error("no socket");
    wire = FileDescriptor(Host::System(), pair[0]);
    NetConfig config;
    config.backend = std::make_unique<NetBackend>(FileDescriptor(Host::System(), pair[1]));
    config.mac = ParseMacAddress("52:54:00:AB:cd:01");
    driver.emplace(world, world.pci.Add(MakeVirtioNet(std::move(config), world.environment())));
    driver->Start(kMac | kStatus, 2, 16);
  }
  void FromWire(const std::string& frame) {
    ASSERT_EQ(write(wire.get(), frame.data(), frame.size()), static_cast<ssize_t>(frame.size()));
  }
  // Waits up to ten seconds for a frame.
  std::string OnWire() {
    pollfd ready = {wire.get(), POLLIN, 0};
    if (poll(&ready, 1, 10000) != 1) return "nothing";
    std::string frame(4096, '\0');
    frame.resize(static_cast<size_t>(std::max<ssize_t>(read(wire.get(), frame.data(), frame.size()), 0)));
    return frame;
  }
  Gpa PostBuffer(uint32_t size) {
    const Gpa at = driver->Allocate(size);
    driver->Add(kReceive, {{at, size, true}});
    return at;
  }

  FileDescriptor wire;
  VirtioWorld world;
  std::optional<VirtioDriver> driver;
};

TEST_F(NetTest, TheConfigurationTellsAddressAndLink) {
  EXPECT_EQ(driver->DeviceConfig(0, 4), 0xab005452U);
  EXPECT_EQ(driver->DeviceConfig(4, 2), 0x01cdU);
  EXPECT_EQ(driver->DeviceConfig(6, 2), 1U) << "link up";
}

TEST_F(NetTest, AFrameTheGuestSendsReachesTheWireWithoutItsHeader) {
  const Gpa at = driver->Allocate(2048);
  const std::string frame(1514, 'f');
  driver->PutText(at, std::string(kHeader, '\0') + frame);
  EXPECT_EQ(driver->Transfer(kTransmit, {{at, kHeader + 1514, false}}).written, 0U);
  EXPECT_EQ(OnWire(), frame);
  driver->PutText(at + Bytes(kHeader), "cut in three");
  driver->Transfer(kTransmit, {{at, 5, false}, {at + Bytes(5), 10, false}, {at + Bytes(15), 9, false}});
  EXPECT_EQ(OnWire(), "cut in three");
}

TEST_F(NetTest, AFrameFromTheWireArrivesWithAHeader) {
  const Gpa at = PostBuffer(2048);
  driver->Kick(kReceive);
  FromWire("a frame");
  EXPECT_EQ(driver->WaitUsed(kReceive).written, kHeader + 7);
  EXPECT_EQ(driver->GetText(at + Bytes(kHeader), 7), "a frame");
  EXPECT_EQ(driver->Get<uint16_t>(at + Bytes(10)), 1) << "num_buffers";
  EXPECT_TRUE(world.msi.WaitFor(VirtioWorld::kMsiData + 1 + kReceive, 1));
}

TEST_F(NetTest, FramesWaitOnTheHostUntilTheGuestHasRoom) {
  for (int i = 0; i < 5; ++i) FromWire("frame " + std::to_string(i));
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  for (int i = 0; i < 5; ++i) {
    const Gpa at = PostBuffer(128);
    driver->Kick(kReceive);
    EXPECT_EQ(driver->WaitUsed(kReceive).written, kHeader + 7);
    EXPECT_EQ(driver->GetText(at + Bytes(kHeader), 7), "frame " + std::to_string(i));
  }
}

TEST_F(NetTest, AFrameTooLargeForItsBufferIsLostAndTheBufferIsNot) {
  const Gpa at = PostBuffer(kHeader + 10);
  driver->Kick(kReceive);
  FromWire("much too large a frame");
  FromWire("fits");
  EXPECT_EQ(driver->WaitUsed(kReceive).written, kHeader + 4);
  EXPECT_EQ(driver->GetText(at + Bytes(kHeader), 4), "fits");
}

TEST_F(NetTest, FramesThatMakeNoSenseAreDropped) {
  const Gpa at = driver->Allocate(4096);
  driver->PutText(at, std::string(4096, 'x'));
  for (const uint32_t size : {1U, 12U, 4000U}) EXPECT_EQ(driver->Transfer(kTransmit, {{at, size, false}}).written, 0U);
  driver->Transfer(kTransmit, {{at, 16, false}});
  EXPECT_EQ(OnWire(), "xxxx") << "the first that reaches the wire";
}

TEST_F(NetTest, BuffersOutsideMemoryBreakTheDevice) {
  driver->Add(kTransmit, {{Gpa(0x7000'0000), 100, false}});
  driver->Kick(kTransmit);
  EXPECT_TRUE(driver->WaitNeedsReset());
  driver->Start(kMac | kStatus, 2, 16);
  driver->Add(kReceive, {{Gpa(0x7000'0000), 2048, true}});
  driver->Kick(kReceive);
  FromWire("a frame");
  EXPECT_TRUE(driver->WaitNeedsReset());
}

TEST_F(NetTest, TheLinkGoesDownWithTheBackend) {
  PostBuffer(2048);
  driver->Kick(kReceive);
  wire.Reset();
  EXPECT_TRUE(world.msi.WaitFor(VirtioWorld::kMsiData, 1)) << "a configuration change";
  EXPECT_EQ(driver->DeviceConfig(6, 2), 0U);
  EXPECT_EQ(driver->Common(VIRTIO_PCI_COMMON_CFGGENERATION, 1), 1U);
  const Gpa at = driver->Allocate(64);
  driver->Transfer(kTransmit, {{at, 64, false}});
}

TEST_F(NetTest, AResetAndANewStartGoOnReceiving) {
  PostBuffer(2048);
  driver->Kick(kReceive);
  for (int i = 0; i < 20; ++i) {
    driver->Start(kMac | kStatus, 2, 16);
    PostBuffer(2048);
    driver->Kick(kReceive);
    FromWire("again");
    EXPECT_EQ(driver->WaitUsed(kReceive).written, kHeader + 5);
  }
}

TEST(MacAddress, IsReadOrRefusedWithAReason) {
  EXPECT_EQ(ParseMacAddress("52:54:00:12:34:56"), (MacAddress{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}));
  for (const char* text : {"", "52:54:00:12:34", "52-54-00-12-34-56", "52:54:00:12:34:5g", "52:54:00:12:34:567"}) {
    EXPECT_THROW(ParseMacAddress(text), UsageError) << text;
  }
  EXPECT_THROW(ParseMacAddress("53:54:00:12:34:56"), UsageError) << "multicast";
}

TEST(Tap, AnInterfaceThatDoesNotExistIsNamedWithTheWayOut) {
  try {
    MakeTapBackend("nosuchtap0");
    FAIL() << "made a backend";
  } catch (const UsageError& e) {
    EXPECT_STREQ(e.what(),
                 "there is no tap interface 'nosuchtap0': create it with `ip tuntap add nosuchtap0 mode tap`");
  }
  EXPECT_THROW(MakeTapBackend("a-name-longer-than-any-interface-has"), UsageError);
}

TEST(Tap, AnInterfaceIsOpenedOnceAndOnlyIfItIsATap) {
  const FileDescriptor keeper(Host::System(), open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  ifreq request = {};
  strcpy(request.ifr_name, "flttest%d");
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (!keeper || ioctl(keeper.get(), TUNSETIFF, &request) != 0) GTEST_SKIP() << "no tap interface can be made here";
  const std::string name = request.ifr_name;
  try {
    MakeTapBackend(name);
    FAIL() << "made a backend";
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()),
              "tap interface '" + name + "' is in use by another program: end that one, or give another interface");
  }
  ASSERT_EQ(ioctl(keeper.get(), TUNSETPERSIST, 1), 0);
  if (if_nametoindex("lo") != 0) {
    EXPECT_THROW(MakeTapBackend("lo"), Error) << "not a tap";
  }
  ioctl(keeper.get(), TUNSETPERSIST, 0);
}

}  // namespace
}  // namespace faultline
