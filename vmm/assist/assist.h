// Completes what KVM reports as "emulation failure": single instructions that a guest may use and KVM's
// interpreter lacks. Software KVM, which interprets guest kernels, depends on it; elsewhere it is rarely called.
//
// Free of KVM: the caller copies a vCPU's registers in, and back out when they changed (kvm_registers.h).
// One object serves all vCPUs of a machine; all members are thread-safe and block only as GuestMemory does.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "guestmem/guest_memory.h"
#include "vmm/assist/x87.h"

namespace faultline {

// What an instruction can see of its vCPU.
struct AssistRegisters {
  enum Segment : uint8_t { kEs, kCs, kSs, kDs, kFs, kGs };  // in the order of the architecture's encoding

  std::array<uint64_t, 16> gpr{};  // rax rcx rdx rbx rsp rbp rsi rdi r8 … r15
  uint64_t rip = 0;
  uint64_t rflags = 0;
  uint64_t cr0 = 0;
  uint64_t cr3 = 0;
  uint64_t cr4 = 0;
  uint64_t efer = 0;
  std::array<uint64_t, 6> segment_base{};
  uint16_t cs_selector = 0;
  unsigned cpl = 0;
  unsigned code_bits = 64;  // 16, 32 or 64: how CS says instructions are decoded

  friend bool operator==(const AssistRegisters&, const AssistRegisters&) = default;
};

struct AssistResult {
  enum class Outcome : uint8_t {
    kCompleted,  // the registers hold the state after the instruction: write them back and run on
    kException,  // write the registers back, inject `vector` (with `error_code` if there is one) and run on
    kRefused,    // nothing changed; `sentence` tells a person what to do
  };
  Outcome outcome = Outcome::kRefused;
  uint8_t vector = 0;
  std::optional<uint32_t> error_code;
  uint64_t cr2 = 0;  // for a page fault (vector 14)
  std::string sentence;
};

// One instruction, or family of them, that is completed here.
enum class AssistKind : uint8_t {
  kInt3,
  kFwait,
  kClacStac,
  kPopcnt,
  kCmpxchg16b,
  kX87,
  kMxcsr,
};
inline constexpr size_t kAssistKinds = 7;
std::string_view ToString(AssistKind kind);

class InstructionAssist {
 public:
  // `memory` outlives this.
  explicit InstructionAssist(GuestMemory& memory) : memory_(memory) {}

  // `bytes`: the instruction at RIP as KVM gave it, perhaps with bytes behind it; empty: it is fetched from guest
  // memory. `vcpu` is for the sentence alone. Without `x87`, floating-point instructions are refused.
  AssistResult Complete(AssistRegisters& registers, std::span<const uint8_t> bytes, unsigned vcpu,
                        X87Access* x87 = nullptr);

  // How many of `kind` were completed.
  uint64_t count(AssistKind kind) const { return counts_[static_cast<size_t>(kind)].load(std::memory_order_relaxed); }

 private:
  GuestMemory& memory_;
  X87Unit x87_unit_;
  std::array<std::atomic<uint64_t>, kAssistKinds> counts_{};
};

}  // namespace faultline
