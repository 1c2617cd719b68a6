// One vCPU: its KVM file descriptor and the page it shares with KVM.
//
// Owned by one thread at a time, which alone may Run it and touch its registers; RequestImmediateExit is
// for any thread.
#pragma once

#include <linux/kvm.h>

#include <span>
#include <vector>

#include "guestmem/host.h"
#include "guestmem/types.h"
#include "vmm/kvm/vm.h"

namespace faultline {

struct CpuEntry;  // vmm/builtin_guest/loader.h

enum class VcpuFeatures : uint8_t {
  kSupported,  // all that KVM can offer
  kNone,       // no CPUID at all: quicker to set up; enough for 64-bit code that asks no questions, has at most
               // 64 GiB of guest-physical addresses and no 1 GiB pages
};

class Vcpu {
 public:
  // Throws Error. `vm` outlives the vCPU.
  Vcpu(const KvmVm& vm, unsigned index, VcpuFeatures features = VcpuFeatures::kSupported);
  ~Vcpu();
  Vcpu(const Vcpu&) = delete;
  Vcpu& operator=(const Vcpu&) = delete;

  unsigned index() const { return index_; }
  const KvmVm& vm() const { return *vm_; }
  // Valid after a Run that returned; KVM writes it.
  kvm_run& run() { return *run_; }
  const kvm_run& run() const { return *run_; }

  // KVM_RUN: 0, with run().exit_reason telling why, or -errno: EINTR for a signal or a requested immediate
  // exit, EFAULT for host memory that cannot be reached (KVM API 4.10). Blocks as long as the guest runs.
  int Run() noexcept;
  // True until taken back: Run finishes a pending access and comes back at once with EINTR.
  void RequestImmediateExit(bool on) noexcept;

  // Throw Error.
  kvm_regs GetRegs() const;
  void SetRegs(const kvm_regs& regs);
  kvm_sregs GetSregs() const;
  void SetSregs(const kvm_sregs& sregs);

  // Once, before the vCPU runs. Throws Error.
  void SetCpuid(const kvm::CpuidList& cpuid);
  // Those that KVM does not know are left out. Throws Error when KVM refuses altogether.
  void SetMsrs(std::span<const kvm_msr_entry> msrs);
  // What its time-stamp counter counts, in kHz; 0 when KVM does not tell (KVM API 4.56).
  unsigned tsc_khz() const noexcept;
  // The local APIC's registers, 4 KiB as the guest sees them (KVM API 4.57).
  kvm_lapic_state GetLapic() const;
  void SetLapic(const kvm_lapic_state& lapic);
  kvm_fpu GetFpu() const;
  void SetFpu(const kvm_fpu& fpu);
  // What XSAVE writes: 4 KiB, and more where the host's processors have AMX (KVM API 4.42, 4.134). What is shorter than
  // KVM's is taken for zero at its end.
  std::vector<uint8_t> GetXsave() const;
  void SetXsave(std::vector<uint8_t> xsave);
  // KVM leaves MXCSR out of kvm_fpu's meaning, though it has a field for it.
  uint32_t GetMxcsr() const;
  void SetMxcsr(uint32_t mxcsr);
  // Pending exceptions, interrupts and the like (KVM API 4.31).
  kvm_vcpu_events GetEvents() const;
  void SetEvents(const kvm_vcpu_events& events);

  // RIP, or 0 when KVM does not tell.
  uint64_t rip() const noexcept;

  // Ready to execute `entry` in 64-bit mode at CPL 3 with IOPL 3: flat user segments, paging on with
  // entry's tables, no IDT, interrupts off. Throws Error.
  void SetUserModeEntry(const CpuEntry& entry);

  // The vCPU's ioctls; 0 or more, or -errno.
  int Ioctl(unsigned long request, void* argument) const noexcept;

 private:
  size_t XsaveSize() const;

  const KvmVm* vm_;
  unsigned index_;
  FileDescriptor fd_;
  kvm_run* run_ = nullptr;
};

}  // namespace faultline
