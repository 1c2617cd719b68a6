#include "vmm/kvm/cpl3_state.h"

namespace faultline {
namespace {

constexpr uint64_t kCr0 = 1ULL << 0 | 1ULL << 4 | 1ULL << 5 | 1ULL << 16 | 1ULL << 31;  // PE ET NE WP PG
constexpr uint64_t kCr4 = 1ULL << 5;                                                    // PAE
constexpr uint64_t kEfer = 1ULL << 8 | 1ULL << 10;                                      // LME LMA
constexpr uint64_t kRflags = 1ULL << 1 | 3ULL << 12;                                    // always one; IOPL 3

constexpr uint16_t kCodeSelector = 0x18 | 3;
constexpr uint16_t kDataSelector = 0x20 | 3;
constexpr uint8_t kCodeType = 0xb;     // execute, read, accessed
constexpr uint8_t kDataType = 0x3;     // read, write, accessed
constexpr uint8_t kBusyTssType = 0xb;  // 64-bit, busy: what a processor that entered long mode has loaded

kvm_segment FlatUserSegment(uint16_t selector, uint8_t type, bool code) {
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.dpl = 3;
  segment.s = 1;
  segment.g = 1;
  segment.l = code ? 1 : 0;
  segment.db = code ? 0 : 1;
  return segment;
}

}  // namespace

kvm_sregs UserModeSregs(const kvm_sregs& reset, const CpuEntry& entry) {
  kvm_sregs sregs = reset;
  sregs.cs = FlatUserSegment(kCodeSelector, kCodeType, true);
  const kvm_segment data = FlatUserSegment(kDataSelector, kDataType, false);
  sregs.ss = sregs.ds = sregs.es = sregs.fs = sregs.gs = data;
  sregs.tr = {};
  sregs.tr.base = entry.tss_base;
  sregs.tr.limit = entry.tss_limit;
  sregs.tr.type = kBusyTssType;
  sregs.tr.present = 1;
  sregs.ldt = {};
  sregs.ldt.unusable = 1;
  sregs.gdt = {};
  sregs.idt = {};
  sregs.cr0 = kCr0;
  sregs.cr3 = entry.cr3;
  sregs.cr4 = kCr4;
  sregs.efer = kEfer;
  return sregs;
}

kvm_regs UserModeRegs(const CpuEntry& entry) {
  kvm_regs regs{};
  regs.rip = entry.rip;
  regs.rsp = entry.rsp;
  regs.rdi = entry.rdi;
  regs.rflags = kRflags;
  return regs;
}

}  // namespace faultline
