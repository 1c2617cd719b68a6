// A network card on a tap interface, with the host's kernel as the other side. In a network namespace of its own.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <chrono>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "devices/virtio/devices.h"
#include "tests/devices/virtio/virtio_world.h"

namespace faultline {
namespace {

constexpr unsigned kReceive = 0;
constexpr unsigned kTransmit = 1;
constexpr uint64_t kMac = uint64_t{1} << 5;
constexpr size_t kHeader = 12;
constexpr size_t kAddresses = 12;  // of an Ethernet frame: to, from

using namespace std::string_literals;
const std::string kEverybody(6, '\xff');
const std::string kGuestMac = "\x52\x54\x00\xab\xcd\x01"s;
const std::string kGuestIp = "\xc0\x00\x02\x02"s;  // 192.0.2.2
const std::string kHostIp = "\xc0\x00\x02\x01"s;
const std::string kArp = "\x08\x06"s;
const std::string kIp = "\x08\x00"s;

// RFC 1071, put at `at`, where two zeroes are.
void PutChecksum(std::string& bytes, size_t at) {
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    sum += static_cast<uint32_t>(static_cast<uint8_t>(bytes[i]) << 8 | static_cast<uint8_t>(bytes[i + 1]));
  }
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  bytes[at] = static_cast<char>(~sum >> 8 & 0xff);
  bytes[at + 1] = static_cast<char>(~sum & 0xff);
}

std::string ArpRequest() {
  return kEverybody + kGuestMac + kArp + "\x00\x01\x08\x00\x06\x04\x00\x01"s + kGuestMac + kGuestIp +
         std::string(6, '\0') + kHostIp;
}

std::string EchoRequest(const std::string& to, const std::string& payload) {
  std::string icmp = "\x08\x00\x00\x00\x12\x34\x00\x01"s + payload;
  PutChecksum(icmp, 2);
  std::string ip =
      "\x45\x00\x00"s + static_cast<char>(20 + icmp.size()) + "\x00\x00\x00\x00\x40\x01\x00\x00"s + kGuestIp + kHostIp;
  PutChecksum(ip, 10);
  return to + kGuestMac + kIp + ip + icmp;
}

// The driver of a card with frames to and from a tap interface.
class TapGuest {
 public:
  explicit TapGuest(std::unique_ptr<NetBackend> tap) {
    NetConfig config;
    config.backend = std::move(tap);
    config.mac = ParseMacAddress("52:54:00:ab:cd:01");
    driver_.emplace(world_, world_.pci.Add(MakeVirtioNet(std::move(config), world_.environment())));
    driver_->Start(kMac, 2, 16);
  }
  void Send(const std::string& frame) {
    const Gpa at = driver_->Allocate(2048);
    driver_->PutText(at, std::string(kHeader, '\0') + frame);
    driver_->Transfer(kTransmit, {{at, static_cast<uint32_t>(kHeader + frame.size()), false}});
  }
  // What comes back, of a type and for this guest; other frames of the kernel's own accord are passed over. Asks again
  // now and then: the kernel drops what it sends before it has seen that somebody opened the interface.
  std::string Ask(const std::string& request, const std::string& type) {
    for (int tries = 0; tries < 100; ++tries) {
      Send(request);
      while (WaitReceived()) {
        const size_t size = driver_->WaitUsed(kReceive).written;
        const std::string frame = driver_->GetText(*buffer_ + Bytes(kHeader), size - kHeader);
        buffer_.reset();
        if (frame.substr(0, 6) == kGuestMac && frame.substr(kAddresses, 2) == type) return frame;
      }
    }
    throw std::runtime_error("the host's kernel does not answer");
  }

 private:
  // Within half a second.
  bool WaitReceived() {
    if (!buffer_) {
      buffer_ = driver_->Allocate(2048);
      driver_->Add(kReceive, {{*buffer_, 2048, true}});
      driver_->Kick(kReceive);
    }
    for (int i = 0; i < 100; ++i) {
      if (driver_->UsedIndex(kReceive) != driver_->queue(kReceive).used_seen) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  VirtioWorld world_;
  std::optional<VirtioDriver> driver_;
  std::optional<Gpa> buffer_;  // for the next frame
};

FileDescriptor OpenTap(int flags) {
  FileDescriptor tap(Host::System(), open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  ifreq request = {};
  std::string("tap7").copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>(flags);
  if (ioctl(tap.get(), TUNSETIFF, &request) != 0) throw std::runtime_error("the tap interface cannot be opened");
  return tap;
}

void ExpectAnswers(TapGuest&& guest) {
  const std::string arp = guest.Ask(ArpRequest(), kArp);
  EXPECT_EQ(arp.substr(kAddresses + 8, 2), "\x00\x02"s) << "a reply";
  EXPECT_EQ(arp.substr(kAddresses + 16, 4), kHostIp);
  const std::string host_mac = arp.substr(kAddresses + 10, 6);
  const std::string payload = "over a tap interface";
  const std::string echo = guest.Ask(EchoRequest(host_mac, payload), kIp);
  ASSERT_EQ(echo.size(), kAddresses + 2 + 20 + 8 + payload.size());
  EXPECT_EQ(echo[kAddresses + 2 + 20], '\0') << "an echo reply";
  EXPECT_EQ(echo.substr(kAddresses + 2 + 28), payload);
}

void Exchange() {
  if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "a network namespace takes root";
  const auto run = [](const char* command) { return std::system(command) == 0; };  // NOLINT(cert-env33-c)
  if (!run("ip tuntap add tap7 mode tap 2>/dev/null") || !run("ip address add 192.0.2.1/24 dev tap7") ||
      !run("ip link set tap7 up")) {
    GTEST_SKIP() << "no tap interface can be made: this takes iproute2 and /dev/net/tun";
  }
  ExpectAnswers(TapGuest(MakeTapBackend("tap7")));
  // As a management program opens one, with and without room for offsets before each frame.
  for (const int flags : {IFF_TAP | IFF_NO_PI, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR}) {
    const FileDescriptor tap = OpenTap(flags);
    ExpectAnswers(TapGuest(MakeTapBackend(tap)));
    ExpectAnswers(TapGuest(MakeTapBackend(tap)));
  }
  EXPECT_THROW(MakeTapBackend(FileDescriptor(Host::System(), open("/dev/null", O_RDWR | O_CLOEXEC))), UsageError);
}

TEST(Tap, TheHostsKernelAnswersArpAndEchoRequests) {
  // The namespace is the thread's, and gone with it.
  std::thread(Exchange).join();
}

}  // namespace
}  // namespace faultline
