// Where a machine's vCPU exits go: to a device, to guest memory after all, or to the empty bus.
//
// Owned by the machine. Called from all vCPU threads at once; holds no lock and no state of its own. Blocks only
// as a device does (the idle port).
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "devices/bus.h"
#include "guestmem/guest_memory.h"
#include "vmm/assist/assist.h"
#include "vmm/kvm/exit_handler.h"
#include "vmm/machine/run_control.h"
#include "vmm/machine/unplugged_accesses.h"

namespace faultline {

class GuestExits final : public ExitHandler {
 public:
  struct Parts {
    const Bus& ports;
    const Bus& mmio;
    GuestMemory& memory;
    UnpluggedAccesses& unplugged;
    RunControl& run;
    InstructionAssist& assist;
    std::function<void(uint8_t)> end_of_interrupt;  // see Platform::OnEndOfInterrupt
  };
  // All parts outlive this.
  explicit GuestExits(Parts parts) : parts_(std::move(parts)) {}

  VcpuAction OnPortIo(Vcpu& vcpu, uint16_t port, std::span<std::byte> data, bool write) override;
  // An exit here does not prove that nothing is there: it may have been plugged since, or KVM's interpreter met
  // a host page it could not reach. Memory that is mapped now is served through GuestMemory.
  VcpuAction OnMmio(Vcpu& vcpu, Gpa gpa, std::span<std::byte> data, bool write) override;
  void OnEndOfInterrupt(uint8_t vector) override { parts_.end_of_interrupt(vector); }
  bool OnEmulationFailure(Vcpu& vcpu, std::span<const uint8_t> bytes, std::string* why) override;
  void OnTrouble(Vcpu& vcpu, VcpuTrouble trouble, const std::string& sentence) override;

 private:
  Parts parts_;
};

}  // namespace faultline
