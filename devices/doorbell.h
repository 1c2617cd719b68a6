// Guest writes that need no answer and no vCPU's exit to user space: they only make a descriptor readable
// (KVM: ioeventfd). Implemented by whoever runs the vCPUs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

namespace faultline {

enum class AddressSpace : uint8_t { kPort, kMmio };

// While it lives, guest writes at its address reach no device. Its destructor takes it away again and
// closes the descriptor; a write under way then may still have been counted, or goes the ordinary way.
class Doorbell {
 public:
  virtual ~Doorbell() = default;
  // A non-blocking eventfd: readable once the guest wrote; reading resets it. Lives as long as this.
  virtual int fd() const = 0;
};

class DoorbellHost {
 public:
  virtual ~DoorbellHost() = default;
  // Thread-safe; may take a lock of LockRank::kTerminal. `width` in bytes (1, 2, 4 or 8; 0: any width) and,
  // with `match`, only writes of that value: every other write takes the ordinary way to the device. Throws
  // Error when the host refuses: the device then lives on ordinary writes.
  virtual std::unique_ptr<Doorbell> Add(AddressSpace space, uint64_t address, unsigned width,
                                        std::optional<uint32_t> match) = 0;
};

}  // namespace faultline
