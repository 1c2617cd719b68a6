#include "devices/virtio/virtio_pci.h"

#include <linux/virtio_pci.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

namespace faultline {
namespace {

// The common configuration as of virtio 1.0; what later versions added belongs to features not offered here.
using Common = virtio_pci_common_cfg;
static_assert(sizeof(Common) == 56);

}  // namespace

VirtioPci::VirtioPci(std::unique_ptr<VirtioDevice> device, MsiHost& msi)
    // §4.1.2: device ids 0x1040 and up, revision 1 and up; subsystem ids mean nothing.
    : PciFunction({.vendor = 0x1af4,
                   .device = static_cast<uint16_t>(0x1040 + device->kind().type),
                   .class_code = device->kind().pci_class,
                   .revision = 1,
                   .subsystem_vendor = 0x1af4,
                   .subsystem = static_cast<uint16_t>(0x1040 + device->kind().type)}),
      device_(std::move(device)),
      msix_(msi, device_->kind().queues + 1) {
  for (auto& vector : queue_vectors_) vector.store(kNoVector, std::memory_order_relaxed);
  AddBar(kBarSize, *this);
  AddMsix(msix_, kMsix);
  AddStructure(VIRTIO_PCI_CAP_COMMON_CFG, kCommon, sizeof(Common));
  AddStructure(VIRTIO_PCI_CAP_ISR_CFG, kIsr, 1);
  AddStructure(VIRTIO_PCI_CAP_DEVICE_CFG, kDeviceConfig, kPart);
  AddNotifyStructure();
  AddConfigWindow();
  device_->Attach(*this);
}

VirtioPci::~VirtioPci() {
  Disconnect();
  device_->Shutdown();
}

void VirtioPci::AddStructure(uint8_t type, uint32_t offset, uint32_t length) {
  virtio_pci_cap cap = {};
  cap.cap_len = sizeof(cap);
  cap.cfg_type = type;
  cap.offset = offset;
  cap.length = length;
  initial_config().AddCapability(pci::kCapabilityVendor, std::as_bytes(std::span(&cap, 1)).subspan(2));
}

void VirtioPci::AddNotifyStructure() {
  virtio_pci_notify_cap cap = {};
  cap.cap.cap_len = sizeof(cap);
  cap.cap.cfg_type = VIRTIO_PCI_CAP_NOTIFY_CFG;
  cap.cap.offset = kNotify;
  cap.cap.length = device_->kind().queues * kNotifyMultiplier;
  cap.notify_off_multiplier = kNotifyMultiplier;
  initial_config().AddCapability(pci::kCapabilityVendor, std::as_bytes(std::span(&cap, 1)).subspan(2));
}

void VirtioPci::AddConfigWindow() {
  virtio_pci_cfg_cap cap = {};
  cap.cap.cap_len = sizeof(cap);
  cap.cap.cfg_type = VIRTIO_PCI_CAP_PCI_CFG;
  virtio_pci_cfg_cap writable = {};
  writable.cap.bar = 0xff;
  writable.cap.offset = 0xffffffff;
  writable.cap.length = 0xffffffff;
  std::ranges::fill(writable.pci_cfg_data, uint8_t{0xff});
  window_ = initial_config().AddCapability(pci::kCapabilityVendor, std::as_bytes(std::span(&cap, 1)).subspan(2),
                                           std::as_bytes(std::span(&writable, 1)).subspan(2));
}

std::optional<VirtioPci::Window> VirtioPci::ConfigWindow(const ConfigSpace& config) const {
  const uint64_t bar = config.Get(window_ + offsetof(virtio_pci_cap, bar), 1);
  const uint64_t offset = config.Get(window_ + offsetof(virtio_pci_cap, offset), 4);
  const uint64_t length = config.Get(window_ + offsetof(virtio_pci_cap, length), 4);
  const bool allowed = bar == 0 && (length == 1 || length == 2 || length == 4) && offset % length == 0 &&
                       offset + length <= kBarSize.value;
  if (!allowed) return std::nullopt;
  return Window{Bytes(offset), static_cast<size_t>(length)};
}

void VirtioPci::BeforeConfigRead(ConfigSpace& config, unsigned offset, size_t size) {
  const unsigned data = window_ + offsetof(virtio_pci_cfg_cap, pci_cfg_data);
  const auto window = ConfigWindow(config);
  if (!Touches(offset, size, data, 4) || !window) return;
  std::array<std::byte, 4> value = {};
  Read(window->offset, std::span(value).first(window->size));
  config.Set(data, 4, LoadLittleEndian(value), UINT32_MAX);
}

void VirtioPci::AfterConfigWrite(ConfigSpace& config, unsigned offset, size_t size) {
  const unsigned data = window_ + offsetof(virtio_pci_cfg_cap, pci_cfg_data);
  const auto window = ConfigWindow(config);
  if (!Touches(offset, size, data, 4) || !window) return;
  std::array<std::byte, 4> value = {};
  StoreLittleEndian(config.Get(data, 4), value);
  Write(window->offset, std::span(value).first(window->size));
}

void VirtioPci::OnBarMapped(std::optional<uint64_t> address) {
  device_->SetDoorbellAddress(address ? std::optional(*address + kNotify) : std::nullopt);
}

void VirtioPci::OnReset() {
  device_->WriteStatus(0);
  ResetTransport();
}

void VirtioPci::ResetTransport() {
  device_feature_select_ = 0;
  driver_feature_select_ = 0;
  queue_select_ = 0;
  config_vector_ = kNoVector;
  for (auto& vector : queue_vectors_) vector = kNoVector;
  TakeIsr();
}

void VirtioPci::Raise(const std::atomic<uint16_t>& vector, uint8_t cause) noexcept {
  if (msix_.enabled()) {
    msix_.Notify(vector.load(std::memory_order_relaxed));
    return;
  }
  MutexLock lock(isr_mutex_);
  isr_ = static_cast<uint8_t>(isr_ | cause);
  SetIntx(true);
}

uint8_t VirtioPci::TakeIsr() {
  MutexLock lock(isr_mutex_);
  const uint8_t isr = std::exchange(isr_, uint8_t{0});
  SetIntx(false);
  return isr;
}

void VirtioPci::Read(Bytes offset, std::span<std::byte> out) {
  const uint64_t at = offset.value % kPart;
  switch (offset.value / kPart * kPart) {
    case kCommon:
      return ReadCommon(at, out);
    case kIsr:
      return StoreLittleEndian(at == 0 ? TakeIsr() : 0, out);
    case kDeviceConfig:
      return device_->ReadConfig(at, out);
    case kMsix:
      return msix_.Read(Bytes(at), out);
    default:
      std::ranges::fill(out, std::byte{0});
  }
}

void VirtioPci::Write(Bytes offset, std::span<const std::byte> data) {
  const uint64_t at = offset.value % kPart;
  switch (offset.value / kPart * kPart) {
    case kCommon:
      return WriteCommon(at, data.size(), LoadLittleEndian(data));
    case kDeviceConfig:
      return device_->WriteConfig(at, data);
    case kNotify:
      return device_->Notify(static_cast<unsigned>(at / kNotifyMultiplier));
    case kMsix:
      return msix_.Write(Bytes(at), data);
    default:
      return;
  }
}

void VirtioPci::ReadCommon(uint64_t offset, std::span<std::byte> out) {
  Common common = {};
  const auto half = [](uint64_t features, uint32_t select) {
    return select < 2 ? static_cast<uint32_t>(features >> (32 * select)) : 0;
  };
  const uint16_t selected = queue_select_;
  const VirtioDevice::QueueState state = device_->queue_state(selected);
  const bool exists = selected < device_->kind().queues;
  common.device_feature_select = device_feature_select_;
  common.device_feature = half(device_->offered_features(), device_feature_select_);
  common.guest_feature_select = driver_feature_select_;
  common.guest_feature = half(device_->driver_features(), driver_feature_select_);
  common.msix_config = config_vector_;
  common.num_queues = static_cast<uint16_t>(device_->kind().queues);
  common.device_status = device_->status();
  common.config_generation = device_->config_generation();
  common.queue_select = selected;
  common.queue_size = state.layout.size;  // 0 for a queue that does not exist
  common.queue_msix_vector = exists ? queue_vectors_[selected].load() : kNoVector;
  common.queue_enable = state.enabled ? 1 : 0;
  common.queue_notify_off = exists ? selected : 0;
  std::array<std::byte, sizeof(Common)> bytes;
  std::memcpy(bytes.data(), &common, sizeof(common));
  const auto put = [&](size_t at, Gpa gpa) { StoreLittleEndian(gpa.value, std::span(bytes).subspan(at, 8)); };
  put(VIRTIO_PCI_COMMON_Q_DESCLO, state.layout.descriptors);
  put(VIRTIO_PCI_COMMON_Q_AVAILLO, state.layout.driver_area);
  put(VIRTIO_PCI_COMMON_Q_USEDLO, state.layout.device_area);
  for (size_t i = 0; i < out.size(); ++i) out[i] = offset + i < bytes.size() ? bytes[offset + i] : std::byte{0};
}

uint16_t VirtioPci::CheckedVector(uint64_t vector) const {
  return vector < msix_.vectors() ? static_cast<uint16_t>(vector) : kNoVector;
}

// Drivers write each field at its own width (§4.1.3.1); 64-bit ones in halves or whole. Nothing else counts.
void VirtioPci::WriteCommon(uint64_t offset, size_t width, uint64_t value) {
  const uint16_t selected = queue_select_;
  const auto is = [&](uint64_t at, size_t field_width) { return offset == at && width == field_width; };
  if (is(VIRTIO_PCI_COMMON_DFSELECT, 4)) {
    device_feature_select_ = static_cast<uint32_t>(value);
  } else if (is(VIRTIO_PCI_COMMON_GFSELECT, 4)) {
    driver_feature_select_ = static_cast<uint32_t>(value);
  } else if (is(VIRTIO_PCI_COMMON_GF, 4)) {
    device_->SetDriverFeatures(driver_feature_select_, static_cast<uint32_t>(value));
  } else if (is(VIRTIO_PCI_COMMON_MSIX, 2)) {
    config_vector_ = CheckedVector(value);
  } else if (is(VIRTIO_PCI_COMMON_STATUS, 1)) {
    device_->WriteStatus(static_cast<uint8_t>(value));
    if (value == 0) ResetTransport();
  } else if (is(VIRTIO_PCI_COMMON_Q_SELECT, 2)) {
    queue_select_ = static_cast<uint16_t>(value);
  } else if (is(VIRTIO_PCI_COMMON_Q_SIZE, 2)) {
    device_->SetQueueSize(selected, static_cast<uint16_t>(value));
  } else if (is(VIRTIO_PCI_COMMON_Q_MSIX, 2)) {
    if (selected < device_->kind().queues) queue_vectors_[selected] = CheckedVector(value);
  } else if (is(VIRTIO_PCI_COMMON_Q_ENABLE, 2)) {
    if (value == 1) device_->EnableQueue(selected);
  } else {
    WriteQueueArea(offset, width, value);
  }
}

void VirtioPci::WriteQueueArea(uint64_t offset, size_t width, uint64_t value) {
  using Area = VirtioDevice::QueueArea;
  constexpr std::array kAreas = {Area::kDescriptors, Area::kDriver, Area::kDevice};
  static_assert(VIRTIO_PCI_COMMON_Q_AVAILLO == VIRTIO_PCI_COMMON_Q_DESCLO + 8 &&
                VIRTIO_PCI_COMMON_Q_USEDLO == VIRTIO_PCI_COMMON_Q_DESCLO + 16);
  if (offset < VIRTIO_PCI_COMMON_Q_DESCLO || (width != 4 && width != 8) || offset % width != 0) return;
  const uint64_t index = (offset - VIRTIO_PCI_COMMON_Q_DESCLO) / 8;
  if (index >= kAreas.size()) return;
  const bool high = offset % 8 != 0;
  const uint64_t mask = width == 8 ? ~uint64_t{0} : high ? ~uint64_t{UINT32_MAX} : uint64_t{UINT32_MAX};
  device_->SetQueueArea(queue_select_, kAreas[index], high ? value << 32 : value, mask);
}

}  // namespace faultline
