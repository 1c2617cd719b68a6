#include "devices/pci/pci_function.h"

#include <array>

#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr uint64_t kBarMemory64 = 0b100;
constexpr uint64_t kBarFlags = 0xf;
constexpr uint16_t kMsixEnable = 1 << 15;
constexpr uint16_t kMsixFunctionMask = 1 << 14;

}  // namespace

PciFunction::PciFunction(const PciIdentity& identity) {
  config_.Set(pci::kVendorId, 2, identity.vendor);
  config_.Set(pci::kDeviceId, 2, identity.device);
  config_.Set(pci::kCommand, 2, 0, pci::kCommandMemory | pci::kCommandMaster | pci::kCommandIntxDisable);
  config_.Set(pci::kRevision, 1, identity.revision);
  config_.Set(pci::kClass, 3, identity.class_code);
  config_.Set(pci::kSubsystemVendorId, 2, identity.subsystem_vendor);
  config_.Set(pci::kSubsystemId, 2, identity.subsystem);
  config_.Set(pci::kInterruptLine, 1, 0, 0xff);
  power_on_ = config_;
}

PciFunction::~PciFunction() {
  Disconnect();
  if (intx_ == nullptr) return;
  // As the pin's next user expects it.
  intx_->SetLevel(source_, false);
  intx_->SetDisabled(source_, false);
}

void PciFunction::AddBar(Bytes size, BusDevice& device) {
  bar_size_ = size;
  bar_ = &device;
  // Address bits below the size read as zero however they are written: that is how guests learn the size.
  config_.Set(pci::kBar0, 8, kBarMemory64, ~(size.value - 1));
}

void PciFunction::AddMsix(Msix& msix, uint32_t offset) {
  std::array<std::byte, 10> body;
  std::array<std::byte, 10> writable = {};
  StoreLittleEndian(msix.vectors() - 1, std::span(body).first(2));
  StoreLittleEndian(offset, std::span(body).subspan(2, 4));
  StoreLittleEndian(offset + Msix::pba_offset().value, std::span(body).subspan(6, 4));
  StoreLittleEndian(kMsixEnable | kMsixFunctionMask, std::span(writable).first(2));
  msix_capability_ = config_.AddCapability(pci::kCapabilityMsix, body, writable);
  msix_ = &msix;
  config_.Set(pci::kInterruptPin, 1, 1);  // INTA#, for drivers without MSI-X
}

void PciFunction::Connect(Bus& mmio, uint64_t bar_address, IntxRouter* intx, unsigned source) {
  MutexLock lock(config_mutex_);
  mmio_ = &mmio;
  intx_ = intx;
  source_ = source;
  if (bar_ != nullptr) config_.Set(pci::kBar0, 8, bar_address | kBarMemory64, ~(bar_size_.value - 1));
  power_on_ = config_;
}

void PciFunction::SetMultifunction() {
  constexpr uint64_t kMultifunction = 0x80;
  Preset(pci::kHeaderType, 1, initial_config().Get(pci::kHeaderType, 1) | kMultifunction);
}

void PciFunction::Preset(unsigned offset, unsigned width, uint64_t value) {
  MutexLock lock(config_mutex_);
  for (ConfigSpace* config : {&config_, &power_on_}) config->Put(offset, width, value);
}

void PciFunction::Disconnect() {
  MutexLock lock(config_mutex_);
  if (mapped_at_) mmio_->Detach(*mapped_at_);
  mapped_at_.reset();
  // An access to the configuration that is still under way finds no bus to map the BAR on.
  mmio_ = nullptr;
}

void PciFunction::SetIntx(bool asserted) {
  if (intx_ != nullptr) intx_->SetLevel(source_, asserted);
}

void PciFunction::ReadConfig(unsigned offset, std::span<std::byte> out) {
  MutexLock lock(config_mutex_);
  if (intx_ != nullptr && Touches(offset, out.size(), pci::kStatus, 2)) {
    const uint64_t status = config_.Get(pci::kStatus, 2) & ~uint64_t{pci::kStatusInterrupt};
    config_.Set(pci::kStatus, 2, status | (intx_->asserted(source_) ? pci::kStatusInterrupt : 0));
  }
  BeforeConfigRead(config_, offset, out.size());
  config_.Read(offset, out);
}

void PciFunction::WriteConfig(unsigned offset, std::span<const std::byte> data) {
  MutexLock lock(config_mutex_);
  config_.Write(offset, data);
  if (Touches(offset, data.size(), pci::kCommand, 2) || Touches(offset, data.size(), pci::kBar0, 8)) {
    ApplyCommandLocked();
  }
  if (msix_ != nullptr && Touches(offset, data.size(), msix_capability_ + 2, 2)) ApplyMsixControlLocked();
  AfterConfigWrite(config_, offset, data.size());
}

void PciFunction::Reset() {
  MutexLock lock(config_mutex_);
  config_ = power_on_;
  ApplyCommandLocked();
  if (msix_ != nullptr) msix_->Reset();
  OnReset();
}

uint64_t PciFunction::BarAddressLocked() const { return config_.Get(pci::kBar0, 8) & ~kBarFlags; }

void PciFunction::ApplyCommandLocked() {
  const uint64_t command = config_.Get(pci::kCommand, 2);
  if (intx_ != nullptr) intx_->SetDisabled(source_, (command & pci::kCommandIntxDisable) != 0);
  if (bar_ == nullptr) return;
  const bool decoding = (command & pci::kCommandMemory) != 0 && BarAddressLocked() != 0;
  MapBarLocked(decoding ? std::optional(BarAddressLocked()) : std::nullopt);
}

void PciFunction::ApplyMsixControlLocked() {
  const uint64_t control = config_.Get(msix_capability_ + 2, 2);
  msix_->SetControl((control & kMsixEnable) != 0, (control & kMsixFunctionMask) != 0);
}

void PciFunction::MapBarLocked(std::optional<uint64_t> wanted) {
  if (wanted == mapped_at_ || mmio_ == nullptr) return;
  if (mapped_at_) mmio_->Detach(*mapped_at_);
  mapped_at_.reset();
  if (wanted) {
    try {
      mmio_->Attach(*wanted, bar_size_, *bar_, weak_from_this().lock());
      mapped_at_ = wanted;
    } catch (const Error&) {
      // The guest put the BAR where another device answers, as sizing code does in passing with decoding
      // left on: unreachable until it is moved again.
    }
  }
  OnBarMapped(mapped_at_);
}

}  // namespace faultline
