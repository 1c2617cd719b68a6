// An I/O APIC: turns interrupt lines into messages to local APICs (Intel 82093AA data sheet).
//
// Owned by the machine, for a VM whose local APICs are in KVM and whose IOAPIC is not. Thread-safe; nothing blocks.
// Two locks: one orders register accesses and is held while the host is told of routes (kMachine: accesses come
// from vCPUs, which hold nothing). The state has one below all ranks, since a device drives its line with its own
// lock held, of whatever rank; nothing but the sending of a message happens under it.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>

#include "devices/bus.h"
#include "devices/irq_line.h"
#include "devices/msi.h"
#include "guestmem/mutex.h"

namespace faultline {

// A mutex without a rank: innermost.
class CAPABILITY("mutex") LineMutex {
 public:
  void Lock() ACQUIRE() { mutex_.lock(); }
  void Unlock() RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

// What the IOAPIC asks of the host besides messages.
class IoapicRoutes {
 public:
  virtual ~IoapicRoutes() = default;
  // The message of a level-triggered pin, or nothing: the host then tells the end of that interrupt with
  // Ioapic::EndOfInterrupt. Called without the state's lock.
  virtual void SetLevelRoute(unsigned pin, std::optional<MsiMessage> message) noexcept = 0;
};

class Ioapic final : public BusDevice {
 public:
  static constexpr uint64_t kAddress = 0xfec00000;
  static constexpr Bytes kWindow{0x20};
  static constexpr unsigned kPins = 24;

  // Both outlive this.
  Ioapic(MsiHost& host, IoapicRoutes& routes);

  // The input of `pin`, below kPins; lives as long as this.
  IrqLine& line(unsigned pin) { return lines_[pin]; }

  // A CPU has ended its service of `vector` (KVM_EXIT_IOAPIC_EOI): level-triggered lines still up are sent again.
  void EndOfInterrupt(uint8_t vector) noexcept EXCLUDES(mutex_);

  // Back to how it was made; the lines stay as they are.
  void Reset() EXCLUDES(access_mutex_, mutex_);

  // BusDevice. IOREGSEL at 0x00, IOWIN at 0x10; all other offsets read as zero and ignore writes. Both take
  // accesses of any width at their first byte.
  void Read(Bytes offset, std::span<std::byte> out) override EXCLUDES(access_mutex_, mutex_);
  void Write(Bytes offset, std::span<const std::byte> data) override EXCLUDES(access_mutex_, mutex_);

 private:
  class Line final : public IrqLine {
   public:
    void SetLevel(bool asserted) noexcept override { ioapic_->SetLine(pin_, asserted); }

   private:
    friend class Ioapic;
    Ioapic* ioapic_ = nullptr;
    unsigned pin_ = 0;
  };

  void SetLine(unsigned pin, bool asserted) noexcept EXCLUDES(mutex_);
  // Sends the pin's message if its line, mask and state ask for it.
  void ServeLocked(unsigned pin) noexcept REQUIRES(mutex_);
  uint32_t ReadRegisterLocked() const REQUIRES(mutex_);
  // The pin whose entry changed, if one did.
  std::optional<unsigned> WriteRegisterLocked(uint32_t value) REQUIRES(mutex_);
  std::optional<MsiMessage> LevelRouteLocked(unsigned pin) const REQUIRES(mutex_);

  MsiHost* host_;
  IoapicRoutes* routes_;
  std::array<Line, kPins> lines_;

  RankedMutex<LockRank::kMachine> access_mutex_;
  LineMutex mutex_;
  std::array<uint64_t, kPins> entries_ GUARDED_BY(mutex_);
  uint32_t levels_ GUARDED_BY(mutex_) = 0;  // one bit for each pin: its line is up
  uint32_t edges_ GUARDED_BY(mutex_) = 0;   // an edge came while the pin was masked
  uint8_t select_ GUARDED_BY(mutex_) = 0;
  uint8_t id_ GUARDED_BY(mutex_) = 0;
};

}  // namespace faultline
