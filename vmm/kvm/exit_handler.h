// What a vCPU's loop asks of whoever runs it: the seam between KVM's exits and a machine, a storm or a test.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "guestmem/types.h"
#include "vmm/kvm/vcpu.h"

namespace faultline {

enum class VcpuAction : uint8_t {
  kContinue,  // back into the guest
  kFinish,    // this vCPU is done: its thread ends
  kRetry,     // OnMmio alone: cannot be answered now. A pause was requested; the access comes again after it
};

// Why a vCPU cannot go on by itself.
enum class VcpuTrouble : uint8_t {
  kTripleFault,    // KVM_EXIT_SHUTDOWN
  kInternalError,  // KVM_EXIT_INTERNAL_ERROR: KVM cannot emulate an instruction, or worse
  kFailEntry,      // KVM_EXIT_FAIL_ENTRY
  kBadMemory,      // EFAULT again and again with nothing being unplugged
  kUnknownExit,    // an exit reason the loop does not know
  kRunFailed,      // KVM_RUN failed with another errno
};

// Called on the vCPU's own thread, outside the guest, with no lock held. Several vCPUs share one handler.
// The vCPU's registers may be read; pending I/O is completed when the loop enters the guest again.
class ExitHandler {
 public:
  virtual ~ExitHandler() = default;

  // `data` is one access (1, 2 or 4 bytes): to fill for a read, to take for a write. String I/O comes as
  // one call for each element.
  virtual VcpuAction OnPortIo(Vcpu& vcpu, uint16_t port, std::span<std::byte> data, bool write) = 0;
  // An access to a guest-physical address without a usable memslot, 1 to 8 bytes.
  virtual VcpuAction OnMmio(Vcpu& vcpu, Gpa gpa, std::span<std::byte> data, bool write) = 0;
  // A CPU has ended its service of `vector`, of an IOAPIC that is not in KVM (IrqChip::kSplit).
  virtual void OnEndOfInterrupt(uint8_t /*vector*/) {}
  // KVM cannot emulate an instruction: `bytes` begin with it, or are empty when KVM does not tell. True when the
  // handler has completed it in the vCPU's registers. Otherwise trouble follows, with `*why` as its sentence if set.
  virtual bool OnEmulationFailure(Vcpu& /*vcpu*/, std::span<const uint8_t> /*bytes*/, std::string* /*why*/) {
    return false;
  }
  // `sentence` says what happened, with the vCPU, RIP and, where known, the instruction. The vCPU's thread
  // ends after this.
  virtual void OnTrouble(Vcpu& vcpu, VcpuTrouble trouble, const std::string& sentence) = 0;
};

}  // namespace faultline
