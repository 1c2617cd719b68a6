// Floating-point instructions of the x87 kind, done by the processor underneath on a guest's state.
//
// KVM's interpreter knows hardly any of them, and there are hundreds of forms; the host's processor has them all. So
// one is copied, its memory operand replaced by a buffer, between instructions that exchange the host's floating-point
// state for the guest's. Exceptions stay masked while it runs: what a guest unmasked is not delivered (kernels and
// tools do not unmask). Owned by the InstructionAssist. Thread-safe: one instruction at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "guestmem/mutex.h"

namespace faultline {

// What the processor keeps for the x87 unit, as FXSAVE writes it (Intel SDM vol. 1 §10.5.1).
struct X87State {
  struct Environment {
    uint16_t control = 0x37f;
    uint16_t status = 0;
    uint8_t tags = 0;  // one bit a register: in use
    uint8_t reserved = 0;
    uint16_t opcode = 0;
    uint64_t instruction = 0;
    uint64_t operand = 0;
  };
  Environment environment;
  std::array<std::array<std::byte, 16>, 8> stack{};  // ST(0) first
};

// A vCPU's, when an instruction asks for it. All may throw Error.
class X87Access {
 public:
  virtual ~X87Access() = default;
  virtual X87State Load() = 0;
  virtual void Store(const X87State& state) = 0;
  // The control and status register of SSE (Intel SDM vol. 1 §10.2.3).
  virtual uint32_t LoadMxcsr() = 0;
  virtual void StoreMxcsr(uint32_t mxcsr) = 0;
};

class X87Unit {
 public:
  static constexpr size_t kOperandSize = 128;

  struct Instruction {
    uint8_t opcode = 0xd8;  // d8 to df
    uint8_t modrm = 0;
    // Reads the control or status word as it is, or sets them: runs with the guest's masks.
    bool administrative = false;
  };
  struct Effect {
    uint64_t rax = 0;     // of FNSTSW AX
    uint64_t rflags = 0;  // arithmetic flags afterwards
  };

  X87Unit() = default;
  ~X87Unit();
  X87Unit(const X87Unit&) = delete;
  X87Unit& operator=(const X87Unit&) = delete;

  // Runs one instruction on `state`; `operand` stands for its memory operand, read or written. False, with nothing
  // changed, when the host does not let this process make code.
  bool Run(const Instruction& instruction, uint64_t rflags, X87State& state, std::span<std::byte, kOperandSize> operand,
           Effect* effect) EXCLUDES(mutex_);

 private:
  bool PrepareLocked() REQUIRES(mutex_);

  Mutex mutex_;
  // One page, seen twice: written through one mapping, executed through the other.
  uint8_t* writable_ GUARDED_BY(mutex_) = nullptr;
  uint8_t* executable_ GUARDED_BY(mutex_) = nullptr;
};

}  // namespace faultline
