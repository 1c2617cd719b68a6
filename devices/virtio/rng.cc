// A source of entropy (virtio 1.2 §5.4): every buffer is filled from the host's getrandom(2).
#include <linux/virtio_ids.h>
#include <sys/random.h>

#include <algorithm>
#include <array>

#include "devices/virtio/devices.h"
#include "devices/virtio/virtio_device.h"
#include "devices/virtio/virtio_pci.h"

namespace faultline {
namespace {

class VirtioRng final : public VirtioDevice {
 public:
  explicit VirtioRng(const VirtioEnvironment& environment)
      : VirtioDevice({.name = "virtio-rng", .type = VIRTIO_ID_RNG, .pci_class = 0xff0000, .queues = 1}, environment) {}

 private:
  // What one buffer gets at most; a guest that wants more comes again.
  static constexpr size_t kMaxFill = 4096;

  void ServeQueue(unsigned index) override REQUIRES(mutex_) {
    SplitQueue& requests = queue(index);
    do {
      requests.DisableNotifications();
      DescriptorChain chain;
      while (requests.Pop(chain)) requests.Push(chain.head, Fill(chain));
    } while (requests.EnableNotifications());
  }

  uint32_t Fill(const DescriptorChain& chain) REQUIRES(mutex_) {
    std::array<std::byte, kMaxFill> bytes;
    const size_t wanted = std::min<size_t>(TotalSize(chain.writable), bytes.size());
    size_t got = 0;
    while (got < wanted) {
      const ssize_t more = getrandom(bytes.data() + got, wanted - got, 0);
      if (more < 0) break;
      got += static_cast<size_t>(more);
    }
    if (!CopyOut(memory(), chain.writable, 0, std::span(bytes).first(got))) GiveUpLocked();
    return static_cast<uint32_t>(got);
  }
};

}  // namespace

std::unique_ptr<PciFunction> MakeVirtioRng(const VirtioEnvironment& environment) {
  return std::make_unique<VirtioPci>(std::make_unique<VirtioRng>(environment), environment.msi);
}

}  // namespace faultline
