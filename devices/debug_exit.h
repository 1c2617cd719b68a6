// A port the guest writes to in order to end the VM: QEMU's isa-debug-exit, with one kindness.
//
// Owned by the machine. Stateless after construction and thread-safe; `on_exit` runs on the vCPU's
// thread that wrote, as often as guests write, so it records the first and returns without blocking.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "devices/bus.h"

namespace faultline {

class DebugExit final : public BusDevice {
 public:
  static constexpr uint64_t kPort = 0xf4;
  static constexpr Bytes kPortCount{4};

  // `on_exit` gets the value written, the low 32 bits at most.
  explicit DebugExit(std::function<void(uint32_t)> on_exit) : on_exit_(std::move(on_exit)) {}

  // The process exit status for a value a guest wrote: (value << 1) | 1 as in QEMU, so never mistaken
  // for a clean end, except that 0 means a clean end and gives 0.
  static constexpr int StatusFor(uint32_t value) { return value == 0 ? 0 : static_cast<int>((value << 1 | 1) & 0xff); }

  void Read(Bytes /*offset*/, std::span<std::byte> out) override { StoreLittleEndian(0, out); }
  void Write(Bytes offset, std::span<const std::byte> data) override {
    // Only the port itself ends the VM, not the padding after it.
    if (offset.value == 0) on_exit_(static_cast<uint32_t>(LoadLittleEndian(data)));
  }

 private:
  const std::function<void(uint32_t)> on_exit_;
};

}  // namespace faultline
