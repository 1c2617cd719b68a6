// A virtio device behind a PCI function: the modern transport alone (virtio 1.2 §4.1).
//
// Owned by the PciBus. One BAR holds everything: common configuration, ISR, device configuration,
// notifications and the MSI-X table, each on pages of its own. The selectors of the common configuration
// are single words that vCPUs race for at their own cost; all other state is the device's, under its lock.
#pragma once

#include <array>
#include <atomic>
#include <memory>

#include "devices/pci/pci_function.h"
#include "devices/virtio/virtio_device.h"

namespace faultline {

class VirtioPci final : public PciFunction, private BusDevice, private VirtioInterrupts {
 public:
  // Where things lie in the BAR, in bytes.
  static constexpr uint32_t kCommon = 0x0000;
  static constexpr uint32_t kIsr = 0x1000;
  static constexpr uint32_t kDeviceConfig = 0x2000;
  static constexpr uint32_t kNotify = 0x3000;
  static constexpr uint32_t kMsix = 0x4000;
  static constexpr uint32_t kPart = 0x1000;
  static constexpr Bytes kBarSize{0x8000};
  static constexpr uint32_t kNotifyMultiplier = 4;

  VirtioPci(std::unique_ptr<VirtioDevice> device, MsiHost& msi);
  ~VirtioPci() override;

 private:
  static constexpr uint16_t kNoVector = 0xffff;

  // The BAR, any width at any offset.
  void Read(Bytes offset, std::span<std::byte> out) override;
  void Write(Bytes offset, std::span<const std::byte> data) override;

  void OnBarMapped(std::optional<uint64_t> address) override;
  void OnReset() override;
  void BeforeConfigRead(ConfigSpace& config, unsigned offset, size_t size) override;
  void AfterConfigWrite(ConfigSpace& config, unsigned offset, size_t size) override;

  void QueueUsed(unsigned queue) noexcept override { Raise(queue_vectors_[queue], kIsrQueue); }
  void ConfigChanged() noexcept override { Raise(config_vector_, kIsrConfig); }

  static constexpr uint8_t kIsrQueue = 1;
  static constexpr uint8_t kIsrConfig = 2;
  void Raise(const std::atomic<uint16_t>& vector, uint8_t cause) noexcept;
  uint8_t TakeIsr();

  void AddStructure(uint8_t type, uint32_t offset, uint32_t length);
  void AddNotifyStructure();
  void AddConfigWindow();
  void ReadCommon(uint64_t offset, std::span<std::byte> out);
  void WriteCommon(uint64_t offset, size_t width, uint64_t value);
  void WriteQueueArea(uint64_t offset, size_t width, uint64_t value);
  uint16_t CheckedVector(uint64_t vector) const;
  void ResetTransport();
  // What the window in configuration space (§4.1.4.9) points at, if that is allowed.
  struct Window {
    Bytes offset;
    size_t size;
  };
  std::optional<Window> ConfigWindow(const ConfigSpace& config) const;

  std::unique_ptr<VirtioDevice> device_;
  Msix msix_;
  unsigned window_ = 0;  // offset of the window's capability

  std::atomic<uint32_t> device_feature_select_{0};
  std::atomic<uint32_t> driver_feature_select_{0};
  std::atomic<uint16_t> queue_select_{0};
  std::atomic<uint16_t> config_vector_{kNoVector};
  std::array<std::atomic<uint16_t>, VirtioDevice::kMaxQueues> queue_vectors_;

  RankedMutex<LockRank::kInterrupt> isr_mutex_;
  uint8_t isr_ GUARDED_BY(isr_mutex_) = 0;
};

}  // namespace faultline
