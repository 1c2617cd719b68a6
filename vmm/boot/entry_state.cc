#include "vmm/boot/entry_state.h"

namespace faultline {
namespace {

constexpr uint64_t kCr0Protected = 1ULL << 0 | 1ULL << 4;    // PE ET
constexpr uint64_t kCr0Paging = kCr0Protected | 1ULL << 31;  // and PG
constexpr uint64_t kCr4Paging = 1ULL << 5;                   // PAE
constexpr uint64_t kEferLong = 1ULL << 8 | 1ULL << 10;       // LME LMA
constexpr uint64_t kRflags = 1ULL << 1;                      // always one; interrupts off

constexpr uint16_t kCodeSelector = 0x10;
constexpr uint16_t kDataSelector = 0x18;
constexpr uint16_t kTssSelector = 0x20;
constexpr uint32_t kTssLimit = 0x67;
constexpr uint8_t kCodeType = 0xb;  // execute, read, accessed
constexpr uint8_t kDataType = 0x3;  // read, write, accessed
constexpr uint8_t kTssType = 0xb;   // busy: what a processor has loaded

kvm_segment FlatSegment(uint16_t selector, uint8_t type) {
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.s = 1;
  segment.g = 1;
  segment.db = 1;
  return segment;
}

kvm_segment CodeSegment(BootEntry::Mode mode) {
  kvm_segment segment = FlatSegment(kCodeSelector, kCodeType);
  if (mode == BootEntry::Mode::kLong64) {
    segment.l = 1;
    segment.db = 0;
  }
  return segment;
}

kvm_segment TaskStateSegment() {
  kvm_segment segment{};
  segment.limit = kTssLimit;
  segment.selector = kTssSelector;
  segment.type = kTssType;
  segment.present = 1;
  return segment;
}

// Intel SDM vol. 3A §3.4.5; every base here is zero.
uint64_t Descriptor(const kvm_segment& segment) {
  const uint64_t limit = segment.g != 0 ? segment.limit >> 12 : segment.limit;
  const uint64_t access = static_cast<uint64_t>(segment.type) | static_cast<uint64_t>(segment.s) << 4 |
                          static_cast<uint64_t>(segment.dpl) << 5 | static_cast<uint64_t>(segment.present) << 7;
  const uint64_t flags = static_cast<uint64_t>(segment.l) << 1 | static_cast<uint64_t>(segment.db) << 2 |
                         static_cast<uint64_t>(segment.g) << 3;
  return (limit & 0xffff) | access << 40 | (limit >> 16) << 48 | flags << 52;
}

}  // namespace

BootGdt GdtFor(BootEntry::Mode mode) {
  return {0, 0, Descriptor(CodeSegment(mode)), Descriptor(FlatSegment(kDataSelector, kDataType)),
          Descriptor(TaskStateSegment())};
}

kvm_sregs KernelSregs(const kvm_sregs& reset, const BootEntry& entry) {
  kvm_sregs sregs = reset;
  sregs.cs = CodeSegment(entry.mode);
  sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = FlatSegment(kDataSelector, kDataType);
  sregs.tr = TaskStateSegment();
  sregs.ldt = {};
  sregs.ldt.unusable = 1;
  sregs.gdt = {};
  sregs.gdt.base = entry.gdt.value;
  sregs.gdt.limit = entry.gdt_limit;
  sregs.idt = {};
  if (entry.mode == BootEntry::Mode::kLong64) {
    sregs.cr0 = kCr0Paging;
    sregs.cr3 = entry.cr3.value;
    sregs.cr4 = kCr4Paging;
    sregs.efer = kEferLong;
  } else {
    sregs.cr0 = kCr0Protected;
    sregs.cr3 = 0;
    sregs.cr4 = 0;
    sregs.efer = 0;
  }
  return sregs;
}

kvm_regs KernelRegs(const BootEntry& entry) {
  kvm_regs regs{};
  regs.rip = entry.rip;
  regs.rsp = entry.rsp;
  regs.rax = entry.rax;
  regs.rbx = entry.rbx;
  regs.rsi = entry.rsi;
  regs.rflags = kRflags;
  return regs;
}

}  // namespace faultline
