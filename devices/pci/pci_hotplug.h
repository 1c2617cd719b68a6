// The registers by which ACPI methods learn of PCI cards that come and go, one bit for each of 32 slots.
//
//   offset 0, 32 bits: slots that a card came to; reading it clears it
//   offset 4, 32 bits: slots whose card is wanted back; reading it clears it
//   offset 8, 32 bits: written: the guest gives up the cards of these slots; reads as zero
// Only whole registers are read and written; anything else reads as zero and changes nothing.
//
// Owned by the machine. Thread-safe; Requests are called without a lock held, `eject` on the vCPU's thread that wrote,
// and the machine decides what it makes of a slot that nobody wanted back.
// Source: ACPI 6.5 §6.3.3 _EJ0 and §5.6.6 device object notifications, for what the methods do with them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "devices/bus.h"
#include "guestmem/mutex.h"

namespace faultline {

class PciHotplug final : public BusDevice {
 public:
  static constexpr uint64_t kPort = 0xae00;
  static constexpr Bytes kPortCount{12};
  static constexpr unsigned kSlots = 32;

  struct Requests {
    std::function<void()> notify;              // there is news for the guest
    std::function<void(unsigned slot)> eject;  // the guest gave up the card
  };
  explicit PciHotplug(Requests requests) : requests_(std::move(requests)) {}

  // `slot` below kSlots.
  void Inserted(unsigned slot) EXCLUDES(mutex_) { Tell(kInserted, slot); }
  void WantRemoval(unsigned slot) EXCLUDES(mutex_) { Tell(kWanted, slot); }
  // Forgets what the guest has not read about it.
  void Withdraw(unsigned slot) EXCLUDES(mutex_);

  void Read(Bytes offset, std::span<std::byte> out) override EXCLUDES(mutex_);
  void Write(Bytes offset, std::span<const std::byte> data) override;

 private:
  static constexpr size_t kInserted = 0;
  static constexpr size_t kWanted = 1;
  static constexpr size_t kEject = 2;
  void Tell(size_t which, unsigned slot) EXCLUDES(mutex_);

  const Requests requests_;
  Mutex mutex_;
  std::array<uint32_t, 2> news_ GUARDED_BY(mutex_) = {};
};

}  // namespace faultline
