// The registers behind the ACPI tables' fixed features, reset and event device: sleep, reset, and what woke the
// guest (ACPI 6.5 §4.8.3.7 sleep control and status, §4.8.3.6 reset register, §5.6.9 generic event device).
//
// Owned by the machine. Thread-safe; nothing blocks. A guest's requests arrive on the vCPU's thread that wrote,
// without a lock held.
#pragma once

#include <cstdint>
#include <functional>

#include "devices/bus.h"
#include "devices/irq_line.h"
#include "guestmem/mutex.h"

namespace faultline {

class AcpiPower final : public BusDevice {
 public:
  static constexpr uint64_t kPort = 0x600;
  static constexpr Bytes kPortCount{4};
  // Offsets of the byte-wide registers.
  static constexpr uint64_t kSleepControl = 0;
  static constexpr uint64_t kSleepStatus = 1;
  static constexpr uint64_t kReset = 2;
  static constexpr uint64_t kEvents = 3;  // reading it clears it

  static constexpr uint8_t kSoftOff = 5;     // SLP_TYP of S5, as the DSDT's \_S5 says
  static constexpr uint8_t kResetValue = 1;  // as the FADT says

  // Bits of kEvents.
  static constexpr uint8_t kPowerButton = 1;
  static constexpr uint8_t kMemory = 2;
  static constexpr uint8_t kPci = 4;

  struct Requests {
    std::function<void()> power_off;
    std::function<void()> reset;
  };
  // `line`, the event device's interrupt, outlives this; it is up while an event is unread.
  AcpiPower(Requests requests, IrqLine& line) : requests_(std::move(requests)), line_(&line) {}

  // Tells the guest of `event`, a bit of kEvents.
  void Raise(uint8_t event) EXCLUDES(mutex_);
  // Forgets what the guest has not read.
  void Reset() EXCLUDES(mutex_);

  void Read(Bytes offset, std::span<std::byte> out) override EXCLUDES(mutex_);
  void Write(Bytes offset, std::span<const std::byte> data) override;

 private:
  const Requests requests_;
  IrqLine* const line_;

  Mutex mutex_;
  uint8_t events_ GUARDED_BY(mutex_) = 0;
};

}  // namespace faultline
