#include "vmm/kvm/vcpu_state.h"

#include <algorithm>
#include <cerrno>
#include <string>

#include "guestmem/error.h"
#include "vmm/kvm/kvm_constants.h"
#include "vmm/kvm/vcpu.h"

namespace faultline {
namespace {

constexpr uint32_t kMsrTsc = 0x10;
constexpr uint32_t kMsrTscDeadline = 0x6e0;

[[noreturn]] void Refuse(const Vcpu& vcpu, const char* what, int error) {
  throw Error("KVM did not " + std::string(what) + " of vCPU " + std::to_string(vcpu.index()) + " (" +
              ErrnoText(error) + "): save and restore need a KVM that does");
}

template <class T>
T Get(const Vcpu& vcpu, unsigned long request, const char* what) {
  T value{};
  if (const int rc = vcpu.Ioctl(request, &value); rc < 0) Refuse(vcpu, what, -rc);
  return value;
}

template <class T>
void Set(const Vcpu& vcpu, unsigned long request, const T& value, const char* what) {
  T copy = value;
  if (const int rc = vcpu.Ioctl(request, &copy); rc < 0) Refuse(vcpu, what, -rc);
}

struct OneMsr {
  kvm::MsrsHeader header;
  kvm_msr_entry entry;
};

// One at a time: KVM names registers that it then does not tell.
std::vector<kvm_msr_entry> GetMsrs(const Vcpu& vcpu) {
  std::vector<kvm_msr_entry> msrs;
  for (const uint32_t index : vcpu.vm().system().MsrIndices()) {
    OneMsr request{{1, 0}, {index, 0, 0}};
    if (vcpu.Ioctl(kvm::kGetMsrs, &request) == 1) msrs.push_back(request.entry);
  }
  return msrs;
}

// The deadline counts from the counter, and the local APIC must be there for it.
void SetMsrs(Vcpu& vcpu, std::vector<kvm_msr_entry> msrs) {
  const auto rank = [](const kvm_msr_entry& msr) {
    return msr.index == kMsrTscDeadline ? 2 : msr.index == kMsrTsc ? 1 : 0;
  };
  std::ranges::stable_sort(msrs, {}, rank);
  vcpu.SetMsrs(msrs);
}

}  // namespace

VcpuState CaptureVcpuState(const Vcpu& vcpu) {
  VcpuState state;
  if (vcpu.vm().irq_chip() != IrqChip::kNone) {
    // First: asking for it makes KVM take pending INIT and SIPI into account.
    state.mp_state = Get<kvm_mp_state>(vcpu, KVM_GET_MP_STATE, "tell the run state");
    state.lapic = vcpu.GetLapic();
  }
  state.regs = vcpu.GetRegs();
  state.sregs = vcpu.GetSregs();
  state.debug_regs = Get<kvm_debugregs>(vcpu, KVM_GET_DEBUGREGS, "tell the debug registers");
  state.events = vcpu.GetEvents();
  state.xcrs = Get<kvm_xcrs>(vcpu, KVM_GET_XCRS, "tell the extended control registers");
  state.xsave = vcpu.GetXsave();
  state.msrs = GetMsrs(vcpu);
  return state;
}

void RestoreVcpuState(Vcpu& vcpu, const VcpuState& state) {
  vcpu.SetSregs(state.sregs);
  vcpu.SetRegs(state.regs);
  Set(vcpu, KVM_SET_DEBUGREGS, state.debug_regs, "take the debug registers");
  Set(vcpu, KVM_SET_XCRS, state.xcrs, "take the extended control registers");
  vcpu.SetXsave(state.xsave);
  if (state.lapic) vcpu.SetLapic(*state.lapic);
  SetMsrs(vcpu, state.msrs);
  vcpu.SetEvents(state.events);
  if (state.mp_state) Set(vcpu, KVM_SET_MP_STATE, *state.mp_state, "take the run state");
}

}  // namespace faultline
