// A network card (virtio 1.2 §5.1): one pair of queues, no offloads, no control queue.
#include <linux/virtio_ids.h>

#include <array>
#include <cstring>
#include <utility>

#include "devices/virtio/devices.h"
#include "devices/virtio/net_backend.h"
#include "devices/virtio/virtio_device.h"
#include "devices/virtio/virtio_pci.h"
#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr unsigned kReceive = 0;
constexpr unsigned kTransmit = 1;
// Of linux/virtio_net.h, which is not C++.
constexpr uint64_t kFeatureMac = uint64_t{1} << 5;
constexpr uint64_t kFeatureStatus = uint64_t{1} << 16;
constexpr uint16_t kLinkUp = 1;
// What of the configuration those features show (§5.1.4).
struct Config {
  MacAddress mac = {};
  uint16_t status = 0;
};
static_assert(sizeof(Config) == 8);
// The header before each frame, whatever its features (§5.1.6.1).
struct Header {
  std::array<uint8_t, 10> offloads = {};
  uint16_t buffers = 0;
};
static_assert(sizeof(Header) == 12);

class VirtioNet final : public VirtioDevice {
 public:
  VirtioNet(NetConfig config, const VirtioEnvironment& environment)
      : VirtioDevice({.name = "virtio-net",
                      .type = VIRTIO_ID_NET,
                      .pci_class = 0x020000,
                      .queues = 2,
                      .features = kFeatureMac | kFeatureStatus},
                     environment),
        backend_(std::move(config.backend)) {
    config_.mac = config.mac;
    config_.status = kLinkUp;
  }

 private:
  // Frames received in one go, so that neither direction starves the other.
  static constexpr unsigned kBatch = 256;

  void OnStop() override REQUIRES(mutex_) { ListenLocked(false); }

  void ReadConfigLocked(uint64_t offset, std::span<std::byte> out) override REQUIRES(mutex_) {
    CopyConfig(std::as_bytes(std::span(&config_, 1)), offset, out);
  }

  void ServeQueue(unsigned index) override REQUIRES(mutex_) {
    if (index == kReceive) {
      ReceiveLocked();
    } else {
      TransmitLocked();
    }
  }

  void OnReadable(int /*fd*/) override REQUIRES(mutex_) { ReceiveLocked(); }

  // Waits for frames only while there are buffers for them: the others wait on the host.
  void ListenLocked(bool on) REQUIRES(mutex_) {
    if (on == listening_) return;
    listening_ = on;
    if (on) {
      WatchLocked(backend_->fd());
    } else {
      UnwatchLocked(backend_->fd());
    }
  }

  void ReceiveLocked() REQUIRES(mutex_) {
    SplitQueue& receive = queue(kReceive);
    std::array<std::byte, sizeof(Header) + NetBackend::kMaxFrame> bytes = {};
    const Header header = {.offloads = {}, .buffers = 1};
    std::memcpy(bytes.data(), &header, sizeof(header));
    DescriptorChain chain;
    for (unsigned i = 0; i < kBatch; ++i) {
      if ((config_.status & kLinkUp) == 0) return;
      if (!receive.Pop(chain)) {
        if (receive.EnableNotifications()) continue;
        return ListenLocked(false);
      }
      receive.DisableNotifications();
      const int64_t size = backend_->Receive(std::span(bytes).subspan(sizeof(Header)));
      if (size < 0) {
        receive.PutBack();
        if (size == NetBackend::kGone) return LinkDownLocked();
        return ListenLocked(true);
      }
      const auto all = std::span(bytes).first(sizeof(Header) + static_cast<size_t>(size));
      if (TotalSize(chain.writable) < all.size()) {
        // Too small for this frame, which is lost; the buffer serves the next one.
        receive.PutBack();
        continue;
      }
      if (!CopyOut(memory(), chain.writable, 0, all)) return GiveUpLocked();
      receive.Push(chain.head, static_cast<uint32_t>(all.size()));
    }
    ListenLocked(true);
  }

  void TransmitLocked() REQUIRES(mutex_) {
    SplitQueue& transmit = queue(kTransmit);
    DescriptorChain chain;
    do {
      transmit.DisableNotifications();
      while (transmit.Pop(chain)) {
        if (!SendLocked(chain)) return GiveUpLocked();
        transmit.Push(chain.head, 0);
      }
    } while (transmit.EnableNotifications());
  }

  // False when the buffers cannot be read. A frame that makes no sense is dropped.
  bool SendLocked(const DescriptorChain& chain) REQUIRES(mutex_) {
    std::array<std::byte, NetBackend::kMaxFrame> frame;
    const uint64_t size = TotalSize(chain.readable);
    if (size <= sizeof(Header) || size - sizeof(Header) > frame.size()) return true;
    const auto bytes = std::span(frame).first(size - sizeof(Header));
    if (!CopyIn(memory(), chain.readable, sizeof(Header), bytes)) return false;
    backend_->Send(bytes);
    return true;
  }

  void LinkDownLocked() REQUIRES(mutex_) {
    ListenLocked(false);
    config_.status = 0;
    ConfigChangedLocked();
  }

  const std::unique_ptr<NetBackend> backend_;
  Config config_ GUARDED_BY(mutex_) = {};
  bool listening_ GUARDED_BY(mutex_) = false;
};

}  // namespace

MacAddress ParseMacAddress(const std::string& text) {
  MacAddress mac = {};
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  bool good = text.size() == 17;
  for (size_t i = 0; good && i < mac.size(); ++i) {
    const int high = digit(text[3 * i]);
    const int low = digit(text[3 * i + 1]);
    good = high >= 0 && low >= 0 && (i == 5 || text[3 * i + 2] == ':');
    mac[i] = static_cast<uint8_t>(high * 16 + low);
  }
  if (!good) throw UsageError("'" + text + "' is no MAC address: give six bytes such as 52:54:00:12:34:56");
  if ((mac[0] & 1) != 0) {
    throw UsageError("'" + text +
                     "' is a multicast address: give one whose first byte is even, such as 52:54:00:12:34:56");
  }
  return mac;
}

std::unique_ptr<PciFunction> MakeVirtioNet(NetConfig config, const VirtioEnvironment& environment) {
  return std::make_unique<VirtioPci>(std::make_unique<VirtioNet>(std::move(config), environment), environment.msi);
}

}  // namespace faultline
