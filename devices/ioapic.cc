#include "devices/ioapic.h"

namespace faultline {
namespace {

constexpr uint64_t kSelect = 0x00;
constexpr uint64_t kData = 0x10;

constexpr uint8_t kIdRegister = 0x00;
constexpr uint8_t kVersionRegister = 0x01;
constexpr uint8_t kArbitrationRegister = 0x02;
constexpr uint8_t kFirstEntry = 0x10;
constexpr uint32_t kVersion = 0x11;  // 82093AA: no EOI register, the local APICs' broadcast ends interrupts

// Of a redirection entry.
constexpr uint64_t kVector = 0xff;
constexpr uint64_t kDeliveryMode = 7ULL << 8;
constexpr uint64_t kLogical = 1ULL << 11;
constexpr uint64_t kPending = 1ULL << 12;
constexpr uint64_t kInService = 1ULL << 14;  // remote IRR
constexpr uint64_t kLevel = 1ULL << 15;
constexpr uint64_t kMasked = 1ULL << 16;
constexpr uint64_t kReadOnly = kPending | kInService;
constexpr uint64_t kWritable = 0x1ffff | 0xffULL << 56;

bool NeedsService(uint64_t entry) { return (entry & kLevel) != 0; }

// Intel SDM vol. 3A §11.11.
MsiMessage MessageOf(uint64_t entry) {
  constexpr uint64_t kLocalApics = 0xfee00000;
  MsiMessage message;
  message.address = kLocalApics | (entry >> 56) << 12 | ((entry & kLogical) != 0 ? 1U << 2 : 0);
  message.data = static_cast<uint32_t>(entry & (kVector | kDeliveryMode));
  if ((entry & kLevel) != 0) message.data |= 1U << 15 | 1U << 14;  // level, asserted
  return message;
}

}  // namespace

Ioapic::Ioapic(MsiHost& host, IoapicRoutes& routes) : host_(&host), routes_(&routes) {
  for (unsigned pin = 0; pin < kPins; ++pin) {
    lines_[pin].ioapic_ = this;
    lines_[pin].pin_ = pin;
  }
  entries_.fill(kMasked);
}

void Ioapic::Reset() {
  MutexLock access(access_mutex_);
  for (unsigned pin = 0; pin < kPins; ++pin) routes_->SetLevelRoute(pin, std::nullopt);
  MutexLock lock(mutex_);
  entries_.fill(kMasked);
  edges_ = 0;
  select_ = 0;
  id_ = 0;
}

void Ioapic::SetLine(unsigned pin, bool asserted) noexcept {
  MutexLock lock(mutex_);
  const uint32_t bit = 1U << pin;
  const bool rose = asserted && (levels_ & bit) == 0;
  levels_ = asserted ? levels_ | bit : levels_ & ~bit;
  if (!rose) return;
  if (!NeedsService(entries_[pin])) edges_ |= bit;
  ServeLocked(pin);
}

void Ioapic::ServeLocked(unsigned pin) noexcept {
  const uint32_t bit = 1U << pin;
  uint64_t& entry = entries_[pin];
  if ((entry & kMasked) != 0) return;
  if (NeedsService(entry)) {
    if ((levels_ & bit) == 0 || (entry & kInService) != 0) return;
    entry |= kInService;
  } else {
    if ((edges_ & bit) == 0) return;
    edges_ &= ~bit;
  }
  host_->Send(MessageOf(entry));
}

void Ioapic::EndOfInterrupt(uint8_t vector) noexcept {
  MutexLock lock(mutex_);
  for (unsigned pin = 0; pin < kPins; ++pin) {
    uint64_t& entry = entries_[pin];
    if ((entry & kInService) == 0 || (entry & kVector) != vector) continue;
    entry &= ~kInService;
    ServeLocked(pin);
  }
}

std::optional<MsiMessage> Ioapic::LevelRouteLocked(unsigned pin) const {
  const uint64_t entry = entries_[pin];
  // A guest may mask a pin before it ends the service, which must be told all the same.
  if (!NeedsService(entry) || (entry & (kMasked | kInService)) == kMasked) return std::nullopt;
  return MessageOf(entry);
}

uint32_t Ioapic::ReadRegisterLocked() const {
  constexpr unsigned kIdShift = 24;
  switch (select_) {
    case kIdRegister:
    case kArbitrationRegister:
      return uint32_t{id_} << kIdShift;
    case kVersionRegister:
      return kVersion | (kPins - 1) << 16;
    default:
      break;
  }
  const unsigned pin = (select_ - kFirstEntry) / 2U;
  if (select_ < kFirstEntry || pin >= kPins) return 0;
  return static_cast<uint32_t>(select_ % 2 == 0 ? entries_[pin] : entries_[pin] >> 32);
}

std::optional<unsigned> Ioapic::WriteRegisterLocked(uint32_t value) {
  if (select_ == kIdRegister) {
    id_ = static_cast<uint8_t>(value >> 24 & 0xf);
    return std::nullopt;
  }
  const unsigned pin = (select_ - kFirstEntry) / 2U;
  if (select_ < kFirstEntry || pin >= kPins) return std::nullopt;
  uint64_t& entry = entries_[pin];
  const uint64_t half = select_ % 2 == 0 ? 0xffffffffULL : 0xffffffff00000000ULL;
  const uint64_t written = select_ % 2 == 0 ? value : uint64_t{value} << 32;
  const uint64_t changeable = kWritable & ~kReadOnly & half;
  entry = (entry & ~changeable) | (written & changeable);
  // An edge-triggered interrupt is never in service.
  if (!NeedsService(entry)) entry &= ~kInService;
  return pin;
}

void Ioapic::Read(Bytes offset, std::span<std::byte> out) {
  MutexLock lock(mutex_);
  uint32_t value = 0;
  if (offset.value == kSelect) value = select_;
  if (offset.value == kData) value = ReadRegisterLocked();
  StoreLittleEndian(value, out);
}

void Ioapic::Write(Bytes offset, std::span<const std::byte> data) {
  const auto value = static_cast<uint32_t>(LoadLittleEndian(data));
  MutexLock access(access_mutex_);
  std::optional<unsigned> pin;
  std::optional<MsiMessage> route;
  {
    MutexLock lock(mutex_);
    if (offset.value == kSelect) select_ = static_cast<uint8_t>(value);
    if (offset.value == kData) pin = WriteRegisterLocked(value);
    if (!pin) return;
    route = LevelRouteLocked(*pin);
  }
  // The host knows the route before the first such interrupt, or it would not tell its end.
  routes_->SetLevelRoute(*pin, route);
  MutexLock lock(mutex_);
  ServeLocked(*pin);
}

}  // namespace faultline
