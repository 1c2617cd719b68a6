// A guest's linear addresses as an instruction sees them: translated through its page tables in guest memory
// (Intel SDM vol. 3A §4.5), with the faults the processor would raise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "guestmem/guest_memory.h"
#include "vmm/assist/assist.h"

namespace faultline {

enum class AccessKind : uint8_t { kRead, kWrite };

// A page fault that the guest is to be given.
struct PageFault {
  uint64_t address = 0;     // CR2
  uint32_t error_code = 0;  // Intel SDM vol. 3A §4.7
};

enum class LinearResult : uint8_t {
  kOk,
  kPageFault,    // `fault` says which
  kUnsupported,  // paging of a 32-bit mode, page tables or a target outside of RAM
};

// Works on the state of one vCPU while it does not run. Sets accessed and dirty bits as the processor does.
class LinearMemory {
 public:
  LinearMemory(GuestMemory& memory, const AssistRegisters& registers) : memory_(memory), registers_(registers) {}

  // The guest-physical address of one byte.
  LinearResult Translate(uint64_t linear, AccessKind kind, Gpa* gpa);
  // May cross into the next page. On a fault, nothing was read.
  LinearResult Read(uint64_t linear, std::span<std::byte> out);
  // At most a page of bytes; may cross into the next. On a fault, nothing was written.
  LinearResult Write(uint64_t linear, std::span<const std::byte> data);
  // How much of `out` could be read from `linear` on: for instruction bytes, which may end before the buffer does.
  size_t ReadPrefix(uint64_t linear, std::span<std::byte> out);

  // Of the last kPageFault.
  const PageFault& fault() const { return fault_; }

 private:
  LinearResult Fault(uint64_t linear, AccessKind kind, bool present);
  // False when the table's memory is not there.
  bool SetBits(Gpa entry, uint64_t bits);

  GuestMemory& memory_;
  const AssistRegisters& registers_;
  PageFault fault_;
};

}  // namespace faultline
