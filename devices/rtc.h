// The real-time clock and its CMOS memory, as far as an operating system reads the time (Motorola MC146818A).
//
// The clock shows the host's time in UTC, binary or BCD as the guest chooses; writing the time registers has no
// effect on it. No alarm, no periodic interrupt. Owned by the machine. Thread-safe; nothing blocks.
#pragma once

#include <array>
#include <cstdint>
#include <ctime>
#include <functional>

#include "devices/bus.h"
#include "guestmem/mutex.h"

namespace faultline {

class Rtc final : public BusDevice {
 public:
  static constexpr uint64_t kPort = 0x70;
  static constexpr Bytes kPortCount{2};

  using Clock = std::function<std::time_t()>;
  explicit Rtc(Clock now = [] { return std::time(nullptr); }) : now_(std::move(now)) {}

  void Read(Bytes offset, std::span<std::byte> out) override EXCLUDES(mutex_);
  void Write(Bytes offset, std::span<const std::byte> data) override EXCLUDES(mutex_);

 private:
  uint8_t ReadRegisterLocked() const REQUIRES(mutex_);
  uint8_t EncodedLocked(int value) const REQUIRES(mutex_);

  const Clock now_;
  Mutex mutex_;
  uint8_t index_ GUARDED_BY(mutex_) = 0;
  uint8_t control_ GUARDED_BY(mutex_) = 0x02;  // register B: BCD, 24 hours
  std::array<uint8_t, 128> cmos_ GUARDED_BY(mutex_) = {};
};

}  // namespace faultline
