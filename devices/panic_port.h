// The port a guest's kernel tells its panic on (QEMU docs/specs/pvpanic).
//
// Owned by the machine. Stateless after construction and thread-safe; `on_panic` runs on the vCPU's thread that
// wrote, as often as guests write.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "devices/bus.h"

namespace faultline {

class PanicPort final : public BusDevice {
 public:
  static constexpr uint64_t kPort = 0x505;
  static constexpr Bytes kPortCount{1};

  explicit PanicPort(std::function<void()> on_panic) : on_panic_(std::move(on_panic)) {}

  // What the port understands: a panic that ends the guest. Not one that loads a crash kernel.
  void Read(Bytes /*offset*/, std::span<std::byte> out) override { StoreLittleEndian(kPanicked, out); }
  void Write(Bytes /*offset*/, std::span<const std::byte> data) override {
    if ((LoadLittleEndian(data) & kPanicked) != 0) on_panic_();
  }

 private:
  static constexpr uint8_t kPanicked = 1;
  const std::function<void()> on_panic_;
};

}  // namespace faultline
