// A vCPU's registers and some memory with page tables, for instructions to work on.
#pragma once

#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "guestmem/guest_memory.h"
#include "guestmem/listener.h"
#include "vmm/assist/assist.h"

namespace faultline {

// 64-bit mode at CPL 0. Linear kLinear + n is guest-physical kPhysical + n for one page; nothing else is mapped.
class AssistWorld {
 public:
  static constexpr uint64_t kLinear = 0xffff888000000000;
  static constexpr Gpa kPhysical{0x8000};
  static constexpr uint64_t kLeafEntry = 0x4000;  // guest-physical

  AssistWorld() : memory_(Host::System(), listener_, PlainMemory()), assist(memory_) {
    RegionSpec spec;
    spec.name = "ram";
    spec.gpa = {Gpa(0), 2_MiB};
    memory_.Plug(spec);
    registers.cr0 = 0x80010001;  // PG, WP, PE
    registers.cr3 = 0x1000;
    registers.cr4 = 0x20;
    registers.efer = 0x500;
    registers.rflags = 2;
    SetEntry(0x1000 + ((kLinear >> 39) & 511) * 8, 0x2007);
    SetEntry(0x2000, 0x3007);
    SetEntry(0x3000, 0x4007);
    SetEntry(kLeafEntry, kPhysical.value | 7);
  }

  void SetEntry(uint64_t at, uint64_t entry) { Write(Gpa(at), entry); }
  template <class T>
  void Write(Gpa at, const T& value) {
    if (memory_.Write(at, std::as_bytes(std::span(&value, 1))) != AccessResult::kOk) std::abort();
  }
  template <class T>
  T Read(Gpa at) {
    T value{};
    if (memory_.Read(at, std::as_writable_bytes(std::span(&value, 1))) != AccessResult::kOk) std::abort();
    return value;
  }
  AssistResult Complete(std::vector<uint8_t> bytes) { return assist.Complete(registers, bytes, 0, &x87); }

  class KeptX87 final : public X87Access {
   public:
    X87State Load() override { return state; }
    void Store(const X87State& stored) override { state = stored; }
    uint32_t LoadMxcsr() override { return mxcsr; }
    void StoreMxcsr(uint32_t stored) override { mxcsr = stored; }
    X87State state;
    uint32_t mxcsr = 0x1f80;
  };
  KeptX87 x87;
  GuestMemory& memory() { return memory_; }

 private:
  static GuestMemoryOptions PlainMemory() {
    GuestMemoryOptions options;
    options.userfault = false;
    return options;
  }
  NullListener listener_;
  GuestMemory memory_;

 public:
  InstructionAssist assist;
  AssistRegisters registers;
};

}  // namespace faultline
