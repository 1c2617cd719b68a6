// The one channel of the 8254 timer that kernels still measure their clocks with: channel 2, gated and read back
// through port 0x61. No interrupts: channels 0 and 1 read as zero.
//
// Owned by the machine. Two ranges of ports, each a device of its own: `counter` at kCounterPort, `gate` at
// kGatePort. Thread-safe; nothing blocks. (Intel 8254 data sheet; IBM PC/AT technical reference, port 61H.)
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "devices/bus.h"
#include "guestmem/mutex.h"

namespace faultline {

class PitChannel2 {
 public:
  static constexpr uint64_t kCounterPort = 0x40;
  static constexpr Bytes kCounterPortCount{4};
  static constexpr uint64_t kGatePort = 0x61;
  static constexpr Bytes kGatePortCount{1};
  static constexpr uint64_t kFrequency = 1193182;  // Hz

  // `now` gives nanoseconds of a steady clock.
  using Clock = std::function<uint64_t()>;
  explicit PitChannel2(Clock now = SteadyClock) : now_(std::move(now)), counter_(*this), gate_(*this) {}

  BusDevice& counter() { return counter_; }
  BusDevice& gate() { return gate_; }

 private:
  class Counter final : public BusDevice {
   public:
    explicit Counter(PitChannel2& pit) : pit_(&pit) {}
    void Read(Bytes offset, std::span<std::byte> out) override;
    void Write(Bytes offset, std::span<const std::byte> data) override;

   private:
    PitChannel2* pit_;
  };
  class Gate final : public BusDevice {
   public:
    explicit Gate(PitChannel2& pit) : pit_(&pit) {}
    void Read(Bytes offset, std::span<std::byte> out) override;
    void Write(Bytes offset, std::span<const std::byte> data) override;

   private:
    PitChannel2* pit_;
  };

  static uint64_t SteadyClock() {
    return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
  }
  uint64_t TicksLocked() const REQUIRES(mutex_);
  uint16_t CountLocked() const REQUIRES(mutex_);
  bool OutputLocked() const REQUIRES(mutex_);
  void WriteCommandLocked(uint8_t value) REQUIRES(mutex_);
  void WriteCountLocked(uint8_t value) REQUIRES(mutex_);

  const Clock now_;
  Counter counter_;
  Gate gate_;

  mutable Mutex mutex_;
  uint64_t started_ns_ GUARDED_BY(mutex_) = 0;
  uint32_t reload_ GUARDED_BY(mutex_) = 0x10000;
  uint16_t latched_ GUARDED_BY(mutex_) = 0;
  uint8_t pending_low_ GUARDED_BY(mutex_) = 0;
  uint8_t mode_ GUARDED_BY(mutex_) = 0;
  uint8_t access_ GUARDED_BY(mutex_) = 3;  // 1 low byte, 2 high byte, 3 low then high
  uint8_t gate_bits_ GUARDED_BY(mutex_) = 0;
  bool running_ GUARDED_BY(mutex_) = false;
  bool loaded_ GUARDED_BY(mutex_) = false;  // counting since the last command
  bool latch_ GUARDED_BY(mutex_) = false;
  bool high_next_read_ GUARDED_BY(mutex_) = false;
  bool high_next_write_ GUARDED_BY(mutex_) = false;
};

}  // namespace faultline
