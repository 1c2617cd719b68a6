#include "devices/acpi_power.h"

#include <utility>

namespace faultline {
namespace {

// Of the sleep control register.
constexpr uint8_t kSleepEnable = 1U << 5;
constexpr unsigned kSleepTypeShift = 2;
constexpr uint8_t kSleepTypeMask = 7;

}  // namespace

void AcpiPower::Raise(uint8_t event) {
  MutexLock lock(mutex_);
  if (events_ == 0) line_->SetLevel(true);
  events_ |= event;
}

void AcpiPower::Reset() {
  MutexLock lock(mutex_);
  if (events_ != 0) line_->SetLevel(false);
  events_ = 0;
}

void AcpiPower::Read(Bytes offset, std::span<std::byte> out) {
  uint8_t value = 0;
  if (offset.value == kEvents) {
    MutexLock lock(mutex_);
    if (events_ != 0) line_->SetLevel(false);
    value = std::exchange(events_, uint8_t{0});
  }
  StoreLittleEndian(value, out);
}

void AcpiPower::Write(Bytes offset, std::span<const std::byte> data) {
  const auto value = static_cast<uint8_t>(LoadLittleEndian(data));
  if (offset.value == kSleepControl && (value & kSleepEnable) != 0 &&
      (value >> kSleepTypeShift & kSleepTypeMask) == kSoftOff) {
    requests_.power_off();
  }
  if (offset.value == kReset && value == kResetValue) requests_.reset();
}

}  // namespace faultline
