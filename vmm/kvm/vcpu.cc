#include "vmm/kvm/vcpu.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "guestmem/error.h"
#include "vmm/kvm/cpl3_state.h"

namespace faultline {
namespace {

[[noreturn]] void ThrowVcpuError(unsigned index, const char* what, int error) {
  throw Error("KVM did not " + std::string(what) + " vCPU " + std::to_string(index) + " (" + ErrnoText(error) +
              "): the KVM of this host lacks something the guest needs");
}

}  // namespace

Vcpu::Vcpu(const KvmVm& vm, unsigned index, VcpuFeatures features)
    : vm_(&vm), index_(index), fd_(vm.CreateVcpu(index)) {
  if (features == VcpuFeatures::kSupported) SetCpuid(vm.system().SupportedCpuid());
  const int64_t at = vm.host().Mmap(0, vm.system().run_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), Bytes(0));
  if (at < 0) ThrowVcpuError(index, "share the state of", static_cast<int>(-at));
  run_ = static_cast<kvm_run*>(static_cast<void*>(ToPointer(Hva(static_cast<uint64_t>(at)))));
}

Vcpu::~Vcpu() { vm_->host().Munmap({ToHva(run_), vm_->system().run_size()}); }

int Vcpu::Ioctl(unsigned long request, void* argument) const noexcept {
  return vm_->host().Ioctl(fd_.get(), request, argument);
}

int Vcpu::Run() noexcept { return vm_->host().Ioctl(fd_.get(), KVM_RUN, uintptr_t{0}); }

void Vcpu::RequestImmediateExit(bool on) noexcept {
  // KVM reads it on its way in; a signal that follows covers the vCPU that is past that point.
  std::atomic_ref<uint8_t>(run_->immediate_exit).store(on ? 1 : 0, std::memory_order_release);
}

kvm_regs Vcpu::GetRegs() const {
  kvm_regs regs{};
  if (const int rc = Ioctl(KVM_GET_REGS, &regs); rc < 0) ThrowVcpuError(index_, "tell the registers of", -rc);
  return regs;
}

void Vcpu::SetRegs(const kvm_regs& regs) {
  kvm_regs copy = regs;
  if (const int rc = Ioctl(KVM_SET_REGS, &copy); rc < 0) ThrowVcpuError(index_, "set the registers of", -rc);
}

kvm_sregs Vcpu::GetSregs() const {
  kvm_sregs sregs{};
  if (const int rc = Ioctl(KVM_GET_SREGS, &sregs); rc < 0) {
    ThrowVcpuError(index_, "tell the system registers of", -rc);
  }
  return sregs;
}

void Vcpu::SetSregs(const kvm_sregs& sregs) {
  kvm_sregs copy = sregs;
  if (const int rc = Ioctl(KVM_SET_SREGS, &copy); rc < 0) {
    ThrowVcpuError(index_, "set the system registers of", -rc);
  }
}

void Vcpu::SetCpuid(const kvm::CpuidList& cpuid) {
  // KVM does not write to what it is given here; its interface just is not const.
  const int rc = Ioctl(kvm::kSetCpuid2, const_cast<kvm::CpuidList*>(&cpuid));
  if (rc < 0) ThrowVcpuError(index_, "take the CPU features of", -rc);
}

void Vcpu::SetMsrs(std::span<const kvm_msr_entry> msrs) {
  struct {
    kvm::MsrsHeader header;
    kvm_msr_entry entry;
  } request{};
  for (const kvm_msr_entry& msr : msrs) {
    request.header.count = 1;
    request.entry = msr;
    if (const int rc = Ioctl(kvm::kSetMsrs, &request); rc < 0) ThrowVcpuError(index_, "set a register of", -rc);
  }
}

unsigned Vcpu::tsc_khz() const noexcept {
  const int khz = vm_->host().Ioctl(fd_.get(), KVM_GET_TSC_KHZ, uintptr_t{0});
  return khz > 0 ? static_cast<unsigned>(khz) : 0;
}

kvm_lapic_state Vcpu::GetLapic() const {
  kvm_lapic_state lapic{};
  if (const int rc = Ioctl(KVM_GET_LAPIC, &lapic); rc < 0) ThrowVcpuError(index_, "tell the local APIC of", -rc);
  return lapic;
}

void Vcpu::SetLapic(const kvm_lapic_state& lapic) {
  kvm_lapic_state copy = lapic;
  if (const int rc = Ioctl(KVM_SET_LAPIC, &copy); rc < 0) ThrowVcpuError(index_, "set the local APIC of", -rc);
}

kvm_fpu Vcpu::GetFpu() const {
  kvm_fpu fpu{};
  if (const int rc = Ioctl(KVM_GET_FPU, &fpu); rc < 0) ThrowVcpuError(index_, "tell the floating-point state of", -rc);
  return fpu;
}

void Vcpu::SetFpu(const kvm_fpu& fpu) {
  kvm_fpu copy = fpu;
  if (const int rc = Ioctl(KVM_SET_FPU, &copy); rc < 0) ThrowVcpuError(index_, "set the floating-point state of", -rc);
}

// Where the image that FXSAVE writes has it (Intel SDM vol. 1 §10.5.1), in bytes.
constexpr size_t kMxcsrOffset = 24;
// The lowest byte of XSTATE_BV, behind that image (§13.4.2): whether SSE's part of it, MXCSR included, counts.
constexpr size_t kXstateBvOffset = 512;
constexpr uint8_t kSseState = 1U << 1;

size_t Vcpu::XsaveSize() const {
  const int size = vm_->CheckExtension(KVM_CAP_XSAVE2);
  return std::max(size > 0 ? static_cast<size_t>(size) : 0, sizeof(kvm::Xsave));
}

std::vector<uint8_t> Vcpu::GetXsave() const {
  std::vector<uint8_t> xsave(XsaveSize());
  const unsigned long request = xsave.size() > sizeof(kvm::Xsave) ? kvm::kGetXsave2 : kvm::kGetXsave;
  if (const int rc = Ioctl(request, xsave.data()); rc < 0) ThrowVcpuError(index_, "tell the extended state of", -rc);
  return xsave;
}

void Vcpu::SetXsave(std::vector<uint8_t> xsave) {
  xsave.resize(std::max(XsaveSize(), xsave.size()));
  if (const int rc = Ioctl(kvm::kSetXsave, xsave.data()); rc < 0) {
    ThrowVcpuError(index_, "set the extended state of", -rc);
  }
}

uint32_t Vcpu::GetMxcsr() const {
  uint32_t mxcsr = 0;
  memcpy(&mxcsr, GetXsave().data() + kMxcsrOffset, sizeof(mxcsr));
  return mxcsr;
}

void Vcpu::SetMxcsr(uint32_t mxcsr) {
  std::vector<uint8_t> xsave = GetXsave();
  memcpy(xsave.data() + kMxcsrOffset, &mxcsr, sizeof(mxcsr));
  xsave[kXstateBvOffset] |= kSseState;
  SetXsave(std::move(xsave));
}

kvm_vcpu_events Vcpu::GetEvents() const {
  kvm_vcpu_events events{};
  if (const int rc = Ioctl(KVM_GET_VCPU_EVENTS, &events); rc < 0) {
    ThrowVcpuError(index_, "tell the pending events of", -rc);
  }
  return events;
}

void Vcpu::SetEvents(const kvm_vcpu_events& events) {
  kvm_vcpu_events copy = events;
  if (const int rc = Ioctl(KVM_SET_VCPU_EVENTS, &copy); rc < 0) {
    ThrowVcpuError(index_, "set the pending events of", -rc);
  }
}

uint64_t Vcpu::rip() const noexcept {
  kvm_regs regs{};
  return Ioctl(KVM_GET_REGS, &regs) < 0 ? 0 : regs.rip;
}

void Vcpu::SetUserModeEntry(const CpuEntry& entry) {
  SetSregs(UserModeSregs(GetSregs(), entry));
  SetRegs(UserModeRegs(entry));
}

}  // namespace faultline
