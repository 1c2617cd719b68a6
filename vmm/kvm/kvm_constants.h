// The parts of KVM's API that the system's <linux/kvm.h> does not give to C++: those newer than it, each with the
// kernel that brought it, and those it declares in a way that means something else in C++.
#pragma once

#include <linux/ioctl.h>
#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>

namespace faultline::kvm {

// Linux 6.8: KVM_EXIT_MEMORY_FAULT comes with the guest-physical range that could not be mapped.
inline constexpr unsigned kCapMemoryFaultInfo = 232;
inline constexpr uint32_t kExitMemoryFault = 39;

// What `kvm_run` holds for kExitMemoryFault; lies where kvm_run's exit union begins.
struct MemoryFaultExit {
  uint64_t flags;
  uint64_t gpa;
  uint64_t size;
};

// Linux 6.12, a bit of KVM_CAP_DISABLE_QUIRKS2: without it, deleting a memslot zaps only that slot's
// mappings and not those of the whole VM.
inline constexpr uint64_t kQuirkSlotZapAll = 1ULL << 7;

// kvm_cpuid2 ends in a flexible array that the header wraps together with an empty struct, which has a size of
// one byte in C++: the struct and the request numbers made of its size are then not the kernel's.
struct CpuidHeader {
  uint32_t count;
  uint32_t padding;
};
inline constexpr unsigned kMaxCpuidEntries = 256;  // KVM_MAX_CPUID_ENTRIES, Linux 4.20 (80 before)
struct CpuidList {
  CpuidHeader header;
  kvm_cpuid_entry2 entries[kMaxCpuidEntries];
};
static_assert(offsetof(CpuidList, entries) == sizeof(CpuidHeader));
inline constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, CpuidHeader);
inline constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, CpuidHeader);

// kvm_msrs and kvm_irq_routing, for the same reason.
struct MsrsHeader {
  uint32_t count;
  uint32_t padding;
};
inline constexpr unsigned long kGetMsrs = _IOWR(KVMIO, 0x88, MsrsHeader);
inline constexpr unsigned long kSetMsrs = _IOW(KVMIO, 0x89, MsrsHeader);
// kvm_xsave, likewise.
struct Xsave {
  uint32_t region[1024];
};
inline constexpr unsigned long kGetXsave = _IOR(KVMIO, 0xa4, Xsave);
inline constexpr unsigned long kSetXsave = _IOW(KVMIO, 0xa5, Xsave);
inline constexpr unsigned long kGetXsave2 = _IOR(KVMIO, 0xcf, Xsave);
struct MsrListHeader {
  uint32_t count;
};
inline constexpr unsigned long kGetMsrIndexList = _IOWR(KVMIO, 0x02, MsrListHeader);
struct IrqRoutingHeader {
  uint32_t count;
  uint32_t flags;
};
inline constexpr unsigned long kSetGsiRouting = _IOW(KVMIO, 0x6a, IrqRoutingHeader);

}  // namespace faultline::kvm
