// Message-signalled interrupts as devices see them: a message is a write of `data` to `address`
// (PCI Local Bus 3.0 §6.8, Intel SDM vol. 3A §11.11). Implemented by whoever owns the interrupt controllers.
//
// All members are thread-safe. Callers may hold locks up to LockRank::kInterrupt; implementations may take
// one of LockRank::kTerminal and never call back into a device.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

namespace faultline {

struct MsiMessage {
  uint64_t address = 0;
  uint32_t data = 0;
  friend constexpr bool operator==(const MsiMessage&, const MsiMessage&) = default;
};

// One interrupt source with a message of its own, cheap to trigger (KVM: an irqfd with its route). Owned by
// the device; must be gone before the MsiHost is.
class MsiVector {
 public:
  virtual ~MsiVector() = default;
  // What Trigger sends from now on; nothing: triggers are dropped. Called when the guest writes or masks the
  // vector, which may be often. Throws Error when the host refuses; the vector then has no message.
  virtual void SetMessage(std::optional<MsiMessage> message) = 0;
  // Sends the message; does not block and takes no lock.
  virtual void Trigger() noexcept = 0;
};

class MsiHost {
 public:
  virtual ~MsiHost() = default;
  // A vector without a message. Throws Error when the host has no more of them: the device then uses Send.
  virtual std::unique_ptr<MsiVector> NewVector() = 0;
  // Sends any message, for sources too rare or too many to have a vector.
  virtual void Send(const MsiMessage& message) noexcept = 0;
};

}  // namespace faultline
