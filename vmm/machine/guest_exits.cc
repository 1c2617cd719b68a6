#include "vmm/machine/guest_exits.h"

#include <algorithm>

namespace faultline {

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

void GuestExits::OnTrouble(Vcpu& /*vcpu*/, VcpuTrouble trouble, const std::string& sentence) {
  const bool guests_fault = trouble == VcpuTrouble::kTripleFault || trouble == VcpuTrouble::kInternalError;
  int code = exit_code::kFailure;
  if (trouble == VcpuTrouble::kTripleFault) code = exit_code::kTripleFault;
  if (trouble == VcpuTrouble::kInternalError) code = exit_code::kCannotRun;
  parts_.run.Exit({guests_fault ? ExitKind::kCrash : ExitKind::kError, code, sentence});
}

}  // namespace faultline
