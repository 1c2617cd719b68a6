// An interrupt line as a device drives it: one level, on or off.
#pragma once

namespace faultline {

// Implemented by whoever owns the interrupt controller. Called with the device's lock held: an
// implementation takes no ranked lock and does not call back into the device (the IOAPIC and KVM's IRQ line
// ioctls fit). Not called when the level did not change.
class IrqLine {
 public:
  virtual ~IrqLine() = default;
  virtual void SetLevel(bool asserted) noexcept = 0;
};

}  // namespace faultline
