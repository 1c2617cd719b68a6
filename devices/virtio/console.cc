// A console, /dev/hvc0 in a Linux guest (virtio 1.2 §5.3): one port, no multiport.
#include <linux/virtio_ids.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "devices/virtio/devices.h"
#include "devices/virtio/virtio_device.h"
#include "devices/virtio/virtio_pci.h"

namespace faultline {
namespace {

constexpr unsigned kReceive = 0;
constexpr unsigned kTransmit = 1;

class VirtioConsole final : public VirtioDevice, public ConsoleInput {
 public:
  // Input that waits for the guest to make room; what one round of output may keep before it is passed on.
  static constexpr size_t kMaxQueuedInput = 65536;
  static constexpr size_t kMaxOutput = 65536;

  VirtioConsole(ConsoleOutput output, const VirtioEnvironment& environment)
      : VirtioDevice({.name = "virtio-console", .type = VIRTIO_ID_CONSOLE, .pci_class = 0x078000, .queues = 2},
                     environment),
        sink_(std::move(output)) {}

  size_t QueueInput(std::span<const std::byte> input) override {
    size_t taken = 0;
    {
      MutexLock lock(mutex_);
      taken = std::min(input.size(), kMaxQueuedInput - input_.size());
      input_.insert(input_.end(), input.begin(), input.begin() + static_cast<ptrdiff_t>(taken));
    }
    if (taken > 0) Notify(kReceive);
    return taken;
  }

 private:
  void ServeQueue(unsigned index) override REQUIRES(mutex_) {
    if (index == kReceive) {
      Receive();
    } else {
      Transmit();
    }
  }

  void Receive() REQUIRES(mutex_) {
    SplitQueue& receive = queue(kReceive);
    DescriptorChain chain;
    while (!input_.empty() && receive.Pop(chain)) {
      const size_t size = std::min<size_t>(TotalSize(chain.writable), input_.size());
      const std::vector<std::byte> bytes(input_.begin(), input_.begin() + static_cast<ptrdiff_t>(size));
      if (!CopyOut(memory(), chain.writable, 0, bytes)) return GiveUpLocked();
      input_.erase(input_.begin(), input_.begin() + static_cast<ptrdiff_t>(size));
      receive.Push(chain.head, static_cast<uint32_t>(size));
    }
    // With input left the guest's next buffers are news; without, input is.
    if (input_.empty()) {
      receive.DisableNotifications();
    } else if (receive.EnableNotifications()) {
      Notify(kReceive);
    }
  }

  void Transmit() REQUIRES(mutex_) {
    SplitQueue& transmit = queue(kTransmit);
    do {
      transmit.DisableNotifications();
      DescriptorChain chain;
      while (transmit.Pop(chain)) {
        if (!Take(chain)) return GiveUpLocked();
        transmit.Push(chain.head, 0);
        if (output_.size() < kMaxOutput) continue;
        // Pass this much on first, without the lock.
        Notify(kTransmit);
        return;
      }
    } while (transmit.EnableNotifications());
  }

  bool Take(const DescriptorChain& chain) REQUIRES(mutex_) {
    const uint64_t size = TotalSize(chain.readable);
    if (size > kMaxOutput) return false;
    const size_t before = output_.size();
    output_.resize(before + size);
    if (CopyIn(memory(), chain.readable, 0, std::span(output_).subspan(before))) return true;
    output_.resize(before);
    return false;
  }

  void AfterWork() override EXCLUDES(mutex_) {
    std::vector<std::byte> output;
    {
      MutexLock lock(mutex_);
      output.swap(output_);
    }
    if (!output.empty() && sink_) sink_(output);
  }

  const ConsoleOutput sink_;
  std::deque<std::byte> input_ GUARDED_BY(mutex_);
  std::vector<std::byte> output_ GUARDED_BY(mutex_);
};

}  // namespace

VirtioConsoleDevice MakeVirtioConsole(ConsoleOutput output, const VirtioEnvironment& environment) {
  auto console = std::make_unique<VirtioConsole>(std::move(output), environment);
  ConsoleInput& input = *console;
  return {std::make_unique<VirtioPci>(std::move(console), environment.msi), input};
}

}  // namespace faultline
