// What is left of the keyboard controller: the command that resets the machine (Intel 8042, command 0xfe).
//
// No keyboard and no mouse: its buffers read as empty. Owned by the machine; stateless after construction and
// thread-safe; `on_reset` runs on the vCPU's thread that wrote.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "devices/bus.h"

namespace faultline {

class I8042 final : public BusDevice {
 public:
  static constexpr uint64_t kPort = 0x64;
  static constexpr Bytes kPortCount{1};

  explicit I8042(std::function<void()> on_reset) : on_reset_(std::move(on_reset)) {}

  void Read(Bytes /*offset*/, std::span<std::byte> out) override { StoreLittleEndian(0, out); }
  void Write(Bytes /*offset*/, std::span<const std::byte> data) override {
    if (std::to_integer<uint8_t>(data[0]) == kPulseReset) on_reset_();
  }

 private:
  static constexpr uint8_t kPulseReset = 0xfe;
  const std::function<void()> on_reset_;
};

}  // namespace faultline
