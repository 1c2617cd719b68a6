// A machine without vCPUs for virtio tests: guest memory, a PCI bus, and interrupts and doorbells that
// remember; and a driver that does to a device what Linux's does, and worse where a test asks for it.
#pragma once

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "devices/pci/pci_bus.h"
#include "devices/virtio/devices.h"
#include "guestmem/guest_memory.h"
#include "tests/devices/pci/fake_interrupts.h"

namespace faultline {

class NobodyListens final : public RegionListener {
 public:
  void OnPlug(const RegionView& /*region*/) override {}
  void OnRevoke(const RegionView& /*region*/) noexcept override {}
  void OnUnmap(const RegionView& /*region*/) override {}
  void OnRestore(RegionId /*old_id*/, const RegionView& /*region*/) noexcept override {}
};

class FakeDoorbells final : public DoorbellHost {
 public:
  std::unique_ptr<Doorbell> Add(AddressSpace /*space*/, uint64_t address, unsigned width,
                                std::optional<uint32_t> /*match*/) override {
    MutexLock lock(mutex_);
    if (refuse) throw Error("no doorbell left");
    if (width != 2) throw Error("a driver's notification is two bytes wide");
    auto bell = std::make_unique<Bell>(*this, address);
    bells_[address] = bell->fd();
    return bell;
  }
  // True when a doorbell stands there, which has rung then.
  bool Ring(uint64_t address) {
    MutexLock lock(mutex_);
    const auto it = bells_.find(address);
    if (it == bells_.end()) return false;
    const uint64_t one = 1;
    return write(it->second, &one, sizeof(one)) == sizeof(one);
  }
  size_t count() const {
    MutexLock lock(mutex_);
    return bells_.size();
  }
  std::atomic<bool> refuse{false};

 private:
  class Bell final : public Doorbell {
   public:
    Bell(FakeDoorbells& host, uint64_t address)
        : host_(host), address_(address), fd_(Host::System(), eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
    ~Bell() override {
      MutexLock lock(host_.mutex_);
      host_.bells_.erase(address_);
    }
    int fd() const override { return fd_.get(); }

   private:
    FakeDoorbells& host_;
    const uint64_t address_;
    FileDescriptor fd_;
  };
  mutable Mutex mutex_;
  std::map<uint64_t, int> bells_ GUARDED_BY(mutex_);
};

struct VirtioWorld {
  static constexpr Bytes kRam{(32_MiB).value};
  static constexpr uint64_t kMsiData = 0x40;  // + vector: what the driver's interrupts carry

  explicit VirtioWorld(Host& the_host = Host::System()) : host(the_host) {
    memory.Plug({.name = "ram", .gpa = {Gpa(0), kRam}, .backing = {}, .source = nullptr, .read_only = false});
  }
  VirtioEnvironment environment() { return {.memory = memory, .msi = msi, .doorbells = &doorbells}; }

  // Plain memory that the device's thread fills as it goes: no userfault to wait for.
  static GuestMemoryOptions Plain() {
    GuestMemoryOptions options;
    options.userfault = false;
    return options;
  }

  Host& host;
  NobodyListens listener;
  GuestMemory memory{host, listener, Plain()};
  FakeMsiHost msi;
  FakeDoorbells doorbells;
  FakeLine lines[4];
  Bus mmio;
  PciBus pci{mmio, {Gpa(0xe000'0000), Bytes(0x1000'0000)}, {&lines[0], &lines[1], &lines[2], &lines[3]}};
};

struct Buffer {
  Gpa address;
  uint32_t size = 0;
  bool writable = false;
};

// The driver of one device; throws std::runtime_error when the device misbehaves.
class VirtioDriver {
 public:
  VirtioDriver(VirtioWorld& world, unsigned slot) : world_(world), slot_(slot) {
    next_free_ = Gpa(0x10'0000 * (slot + 1));
    EnableDecoding();
    FindStructures();
  }

  // Configuration space and BAR.
  uint64_t Config(unsigned offset, size_t width) {
    std::array<std::byte, 8> bytes = {};
    world_.pci.ecam().Read(Bytes(slot_ * 0x8000 + offset), std::span(bytes).first(width));
    return LoadLittleEndian(std::span(bytes).first(width));
  }
  void SetConfig(unsigned offset, size_t width, uint64_t value) {
    std::array<std::byte, 8> bytes = {};
    StoreLittleEndian(value, bytes);
    world_.pci.ecam().Write(Bytes(slot_ * 0x8000 + offset), std::span(bytes).first(width));
  }
  uint64_t BarRead(uint64_t offset, size_t width) {
    std::array<std::byte, 8> bytes = {};
    if (!world_.mmio.Read(bar_ + offset, std::span(bytes).first(width))) throw std::runtime_error("no BAR there");
    return LoadLittleEndian(std::span(bytes).first(width));
  }
  void BarWrite(uint64_t offset, size_t width, uint64_t value) {
    std::array<std::byte, 8> bytes = {};
    StoreLittleEndian(value, bytes);
    if (!world_.mmio.Write(bar_ + offset, std::span(bytes).first(width))) throw std::runtime_error("no BAR there");
  }
  uint64_t Common(unsigned field, size_t width) { return BarRead(common_ + field, width); }
  void SetCommon(unsigned field, size_t width, uint64_t value) { BarWrite(common_ + field, width, value); }
  uint64_t DeviceConfig(unsigned field, size_t width) { return BarRead(device_config_ + field, width); }
  uint8_t Status() { return static_cast<uint8_t>(Common(VIRTIO_PCI_COMMON_STATUS, 1)); }
  void SetStatus(uint8_t status) { SetCommon(VIRTIO_PCI_COMMON_STATUS, 1, status); }
  uint8_t Isr() { return static_cast<uint8_t>(BarRead(isr_, 1)); }
  uint64_t notify_offset(unsigned queue) const { return notify_ + queue * notify_multiplier_; }
  uint64_t bar() const { return bar_; }
  void MoveBar(uint64_t address) {
    SetConfig(pci::kBar0, 4, address & 0xffffffff);
    SetConfig(pci::kBar0 + 4, 4, address >> 32);
    bar_ = address;
  }

  uint64_t OfferedFeatures() {
    uint64_t features = 0;
    for (unsigned half = 0; half < 2; ++half) {
      SetCommon(VIRTIO_PCI_COMMON_DFSELECT, 4, half);
      features |= Common(VIRTIO_PCI_COMMON_DF, 4) << (32 * half);
    }
    return features;
  }
  // True when the device accepted them.
  bool Negotiate(uint64_t features) {
    SetStatus(0);
    SetStatus(VIRTIO_CONFIG_S_ACKNOWLEDGE);
    SetStatus(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
    for (unsigned half = 0; half < 2; ++half) {
      SetCommon(VIRTIO_PCI_COMMON_GFSELECT, 4, half);
      SetCommon(VIRTIO_PCI_COMMON_GF, 4, features >> (32 * half) & 0xffffffff);
    }
    features_ = features;
    SetStatus(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
    return (Status() & VIRTIO_CONFIG_S_FEATURES_OK) != 0;
  }
  void EnableMsix() {
    for (unsigned vector = 0; vector <= queues_.size() + 4; ++vector) {
      BarWrite(msix_ + 16 * vector, 4, 0xfee00000);
      BarWrite(msix_ + 16 * vector + 8, 4, VirtioWorld::kMsiData + vector);
      BarWrite(msix_ + 16 * vector + 12, 4, 0);
    }
    SetConfig(msix_capability_ + 2, 2, 0x8000);
    SetCommon(VIRTIO_PCI_COMMON_MSIX, 2, 0);
  }
  // Everything a driver does up to DRIVER_OK: queue N interrupts by vector N + 1.
  void Start(uint64_t features, unsigned queue_count, uint16_t size = 8, bool msix = true) {
    if (!Negotiate(features | uint64_t{1} << VIRTIO_F_VERSION_1)) throw std::runtime_error("features refused");
    queues_.clear();
    if (msix) EnableMsix();
    for (unsigned i = 0; i < queue_count; ++i) AddQueue(i, size, msix);
    SetStatus(Status() | VIRTIO_CONFIG_S_DRIVER_OK);
  }

  // Memory of the guest's for buffers.
  Gpa Allocate(uint64_t size, uint64_t alignment = 16) {
    const Gpa at((next_free_.value + alignment - 1) / alignment * alignment);
    next_free_ = at + Bytes(size);
    return at;
  }
  template <class T>
  void Put(Gpa at, const T& value) {
    if (world_.memory.Write(at, std::as_bytes(std::span(&value, 1))) != AccessResult::kOk) {
      throw std::runtime_error("the test wrote outside guest memory");
    }
  }
  template <class T>
  T Get(Gpa at) {
    T value;
    if (world_.memory.Read(at, std::as_writable_bytes(std::span(&value, 1))) != AccessResult::kOk) {
      throw std::runtime_error("the test read outside guest memory");
    }
    return value;
  }
  void PutText(Gpa at, const std::string& text) {
    if (world_.memory.Write(at, std::as_bytes(std::span(text))) != AccessResult::kOk) {
      throw std::runtime_error("the test wrote outside guest memory");
    }
  }
  std::string GetText(Gpa at, size_t size) {
    std::string text(size, '\0');
    if (world_.memory.Read(at, std::as_writable_bytes(std::span(text))) != AccessResult::kOk) {
      throw std::runtime_error("the test read outside guest memory");
    }
    return text;
  }

  // Raw rings, for tests that build them wrong.
  struct Queue {
    uint16_t size = 0;
    Gpa descriptors, avail, used;
    uint16_t next_descriptor = 0;
    uint16_t avail_index = 0;
    uint16_t used_seen = 0;
  };
  Queue& queue(unsigned index) { return queues_[index]; }
  void SetDescriptor(unsigned q, uint16_t index, uint64_t address, uint32_t size, uint16_t flags, uint16_t next) {
    SetDescriptorAt(queues_[q].descriptors + Bytes(16 * uint64_t{index}), address, size, flags, next);
  }
  void SetDescriptorAt(Gpa at, uint64_t address, uint32_t size, uint16_t flags, uint16_t next) {
    Put(at, address);
    Put(at + Bytes(8), size);
    Put(at + Bytes(12), flags);
    Put(at + Bytes(14), next);
  }
  void MakeAvailable(unsigned q, uint16_t head) {
    Queue& queue = queues_[q];
    Put(queue.avail + Bytes(4 + 2 * (queue.avail_index % queue.size)), head);
    ++queue.avail_index;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    Put(queue.avail + Bytes(2), queue.avail_index);
  }

  // Queues a chain of buffers and returns its head. Descriptors are used round robin.
  uint16_t Add(unsigned q, const std::vector<Buffer>& buffers, bool indirect = false) {
    Queue& queue = queues_[q];
    const uint16_t head = queue.next_descriptor;
    const Gpa table = indirect ? Allocate(16 * buffers.size()) : queue.descriptors;
    for (size_t i = 0; i < buffers.size(); ++i) {
      const auto wrap = [&](size_t n) { return static_cast<uint16_t>(indirect ? n : (head + n) % queue.size); };
      const bool last = i + 1 == buffers.size();
      const auto flags = static_cast<uint16_t>((last ? 0 : 1) | (buffers[i].writable ? 2 : 0));
      SetDescriptorAt(table + Bytes(16 * uint64_t{wrap(i)}), buffers[i].address.value, buffers[i].size, flags,
                      last ? uint16_t{0} : wrap(i + 1));
    }
    if (indirect) SetDescriptor(q, head, table.value, static_cast<uint32_t>(16 * buffers.size()), 4, 0);
    const size_t used = indirect ? 1 : buffers.size();
    queue.next_descriptor = static_cast<uint16_t>((head + used) % queue.size);
    MakeAvailable(q, head);
    return head;
  }
  // As a vCPU's write: a doorbell if one stands there, otherwise the bus.
  void Kick(unsigned q) {
    if (!world_.doorbells.Ring(bar_ + notify_offset(q))) BarWrite(notify_offset(q), 2, q);
  }
  struct Used {
    uint32_t head = 0;
    uint32_t written = 0;
  };
  uint16_t UsedIndex(unsigned q) { return Get<uint16_t>(queues_[q].used + Bytes(2)); }
  // Waits up to ten seconds for the next used buffer.
  Used WaitUsed(unsigned q) {
    Queue& queue = queues_[q];
    for (int i = 0; i < 50000; ++i) {
      if (UsedIndex(q) != queue.used_seen) {
        std::atomic_thread_fence(std::memory_order_seq_cst);
        const Gpa at = queue.used + Bytes(4 + 8 * (uint64_t{queue.used_seen} % queue.size));
        ++queue.used_seen;
        // Asks for the next interrupt, where event indices are in use.
        Put(queue.avail + Bytes(4 + 2 * uint64_t{queue.size}), queue.used_seen);
        return {Get<uint32_t>(at), Get<uint32_t>(at + Bytes(4))};
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    throw std::runtime_error("the device used no buffer of queue " + std::to_string(q));
  }
  Used Transfer(unsigned q, const std::vector<Buffer>& buffers, bool indirect = false) {
    Add(q, buffers, indirect);
    Kick(q);
    return WaitUsed(q);
  }
  // Waits up to ten seconds.
  bool WaitNeedsReset() {
    for (int i = 0; i < 50000 && (Status() & VIRTIO_CONFIG_S_NEEDS_RESET) == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return (Status() & VIRTIO_CONFIG_S_NEEDS_RESET) != 0;
  }

  void AddQueue(unsigned index, uint16_t size, bool msix = true) {
    Queue queue;
    queue.size = size;
    queue.descriptors = Allocate(16 * uint64_t{size});
    queue.avail = Allocate(6 + 2 * uint64_t{size});
    queue.used = Allocate(6 + 8 * uint64_t{size});
    for (uint64_t at = queue.descriptors.value; at < next_free_.value; ++at) Put(Gpa(at), uint8_t{0});
    SetCommon(VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
    SetCommon(VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
    SetCommon(VIRTIO_PCI_COMMON_Q_DESCLO, 4, queue.descriptors.value);
    SetCommon(VIRTIO_PCI_COMMON_Q_DESCHI, 4, queue.descriptors.value >> 32);
    SetCommon(VIRTIO_PCI_COMMON_Q_AVAILLO, 4, queue.avail.value);
    SetCommon(VIRTIO_PCI_COMMON_Q_AVAILHI, 4, queue.avail.value >> 32);
    SetCommon(VIRTIO_PCI_COMMON_Q_USEDLO, 4, queue.used.value);
    SetCommon(VIRTIO_PCI_COMMON_Q_USEDHI, 4, queue.used.value >> 32);
    if (msix) SetCommon(VIRTIO_PCI_COMMON_Q_MSIX, 2, index + 1);
    SetCommon(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    queues_.push_back(queue);
  }

 private:
  void EnableDecoding() {
    if (Config(pci::kVendorId, 2) == 0xffff) throw std::runtime_error("no function in the slot");
    SetConfig(pci::kCommand, 2, pci::kCommandMemory | pci::kCommandMaster);
    bar_ = (Config(pci::kBar0, 4) & ~uint64_t{0xf}) | Config(pci::kBar0 + 4, 4) << 32;
  }
  void FindStructures() {
    for (auto at = static_cast<unsigned>(Config(pci::kCapabilities, 1)); at != 0;
         at = static_cast<unsigned>(Config(at + 1, 1))) {
      const uint64_t id = Config(at, 1);
      if (id == pci::kCapabilityMsix) {
        msix_capability_ = at;
        msix_ = Config(at + 4, 4);
      }
      if (id != pci::kCapabilityVendor) continue;
      const uint64_t offset = Config(at + 8, 4);
      switch (Config(at + 3, 1)) {
        case VIRTIO_PCI_CAP_COMMON_CFG:
          common_ = offset;
          break;
        case VIRTIO_PCI_CAP_NOTIFY_CFG:
          notify_ = offset;
          notify_multiplier_ = Config(at + 16, 4);
          break;
        case VIRTIO_PCI_CAP_ISR_CFG:
          isr_ = offset;
          break;
        case VIRTIO_PCI_CAP_DEVICE_CFG:
          device_config_ = offset;
          break;
        case VIRTIO_PCI_CAP_PCI_CFG:
          window = at;
          break;
        default:
          throw std::runtime_error("an unknown virtio structure");
      }
    }
  }

 public:
  unsigned window = 0;  // capability of the window into the BAR

 private:
  VirtioWorld& world_;
  const unsigned slot_;
  uint64_t bar_ = 0;
  uint64_t common_ = 0, notify_ = 0, notify_multiplier_ = 0, isr_ = 0, device_config_ = 0, msix_ = 0;
  unsigned msix_capability_ = 0;
  uint64_t features_ = 0;
  Gpa next_free_;
  std::vector<Queue> queues_;
};

}  // namespace faultline
