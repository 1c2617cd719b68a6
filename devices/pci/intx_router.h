// The INTx pins of the functions on the root bus and of those behind its ports, wired to four interrupt lines as PCI
// bridges do: pin INTA# of slot N drives line N mod 4, and what sits in slot 0 behind a port drives the port's
// (PCI-to-PCI Bridge 1.2 §9.1). The ACPI _PRT must say the same.
//
// Owned by the PciBus. A line is asserted while any function that shares it asserts its pin and has not
// disabled it. One terminal lock guards the wiring and is held while a line is driven, as IrqLine demands.
#pragma once

#include <array>

#include "devices/irq_line.h"
#include "guestmem/mutex.h"

namespace faultline {

class IntxRouter {
 public:
  static constexpr unsigned kLines = 4;
  static constexpr unsigned kSlots = 32;
  static constexpr unsigned kFunctions = 8;  // of a slot
  // One pin for each function, by slot and number. A port has none: what sits behind it uses its.
  static constexpr unsigned kSources = kSlots * kFunctions;

  // A line may be null: its interrupts go nowhere. Lines outlive this.
  explicit IntxRouter(const std::array<IrqLine*, kLines>& lines) : lines_(lines) {}

  static constexpr unsigned LineFor(unsigned slot) { return slot % kLines; }

  void SetLevel(unsigned source, bool asserted);
  // The Interrupt Disable bit of the function's command register.
  void SetDisabled(unsigned source, bool disabled);
  // What the Interrupt Status bit of the function's status register shows.
  bool asserted(unsigned source) const;

 private:
  struct Pin {
    bool asserted = false;
    bool disabled = false;
  };
  void DriveLocked(unsigned line) REQUIRES(mutex_);

  const std::array<IrqLine*, kLines> lines_;
  mutable Mutex mutex_;
  std::array<Pin, kSources> pins_ GUARDED_BY(mutex_);
  std::array<bool, kLines> levels_ GUARDED_BY(mutex_) = {};
};

}  // namespace faultline
