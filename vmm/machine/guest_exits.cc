#include "vmm/machine/guest_exits.h"

#include <algorithm>

#include "vmm/assist/kvm_registers.h"

namespace faultline {
namespace {

void InjectException(Vcpu* vcpu, const AssistResult& result) {
  constexpr uint8_t kPageFault = 14;
  if (result.vector == kPageFault) {
    kvm_sregs sregs = vcpu->GetSregs();
    sregs.cr2 = result.cr2;
    vcpu->SetSregs(sregs);
  }
  kvm_vcpu_events events = vcpu->GetEvents();
  events.exception.injected = 1;
  events.exception.nr = result.vector;
  events.exception.has_error_code = result.error_code ? 1 : 0;
  events.exception.error_code = result.error_code.value_or(0);
  vcpu->SetEvents(events);
}

}  // namespace

VcpuAction GuestExits::OnPortIo(Vcpu& /*vcpu*/, uint16_t port, std::span<std::byte> data, bool write) {
  if (write) {
    parts_.ports.Write(port, data);
  } else if (!parts_.ports.Read(port, data)) {
    std::fill(data.begin(), data.end(), std::byte{0xff});
  }
  return VcpuAction::kContinue;
}

VcpuAction GuestExits::OnMmio(Vcpu& vcpu, Gpa gpa, std::span<std::byte> data, bool write) {
  if (write ? parts_.mmio.Write(gpa.value, data) : parts_.mmio.Read(gpa.value, data)) return VcpuAction::kContinue;

  switch (write ? parts_.memory.Write(gpa, data) : parts_.memory.Read(gpa, data)) {
    case AccessResult::kOk:
    case AccessResult::kReadOnly:  // as a ROM: the write is dropped
      return VcpuAction::kContinue;
    case AccessResult::kSourceError:
    case AccessResult::kHostError:
      parts_.run.RequestPause(PauseReason::kIoError,
                              "a page of guest memory could not be had for vCPU " + std::to_string(vcpu.index()) +
                                  ": mend its source or free memory on the host, then resume the VM");
      return VcpuAction::kRetry;
    case AccessResult::kNotMapped:
      break;
  }
  parts_.unplugged.Answer({vcpu.index(), gpa, data, write}, [&vcpu] { return vcpu.rip(); });
  return VcpuAction::kContinue;
}

namespace {

class VcpuX87 final : public X87Access {
 public:
  explicit VcpuX87(Vcpu& vcpu) : vcpu_(vcpu) {}
  X87State Load() override { return ToX87State(vcpu_.GetFpu()); }
  void Store(const X87State& state) override {
    kvm_fpu fpu = vcpu_.GetFpu();
    SetX87State(state, &fpu);
    vcpu_.SetFpu(fpu);
  }
  uint32_t LoadMxcsr() override { return vcpu_.GetMxcsr(); }
  void StoreMxcsr(uint32_t mxcsr) override { vcpu_.SetMxcsr(mxcsr); }

 private:
  Vcpu& vcpu_;
};

}  // namespace

bool GuestExits::OnEmulationFailure(Vcpu& vcpu, std::span<const uint8_t> bytes, std::string* why) {
  AssistRegisters registers = ToAssistRegisters(vcpu.GetRegs(), vcpu.GetSregs());
  VcpuX87 x87(vcpu);
  const AssistResult result = parts_.assist.Complete(registers, bytes, vcpu.index(), &x87);
  if (result.outcome == AssistResult::Outcome::kRefused) {
    *why = result.sentence;
    return false;
  }
  vcpu.SetRegs(ToKvmRegs(registers));
  if (result.outcome == AssistResult::Outcome::kException) InjectException(&vcpu, result);
  return true;
}

void GuestExits::OnTrouble(Vcpu& /*vcpu*/, VcpuTrouble trouble, const std::string& sentence) {
  const bool guests_fault = trouble == VcpuTrouble::kTripleFault || trouble == VcpuTrouble::kInternalError;
  int code = exit_code::kFailure;
  if (trouble == VcpuTrouble::kTripleFault) code = exit_code::kTripleFault;
  if (trouble == VcpuTrouble::kInternalError) code = exit_code::kCannotRun;
  parts_.run.Exit({guests_fault ? ExitKind::kCrash : ExitKind::kError, code, sentence});
}

}  // namespace faultline
