// The interrupts of a PC: lines into an IOAPIC, of ours or in KVM, and messages straight to the local APICs.
//
// Owned by the platform; outlives the devices that interrupt. Thread-safe as its parts say.
#pragma once

#include <array>
#include <memory>

#include "devices/bus.h"
#include "devices/ioapic.h"
#include "devices/irq_line.h"
#include "vmm/kvm/irq_routes.h"
#include "vmm/kvm/kvm_msi_host.h"
#include "vmm/kvm/vm.h"

namespace faultline {

class PcInterrupts final : private IoapicRoutes {
 public:
  // `vm` has an interrupt controller. `mmio` is where the IOAPIC goes if it is ours. Both outlive this.
  PcInterrupts(const KvmVm& vm, Bus& mmio);

  // The line of IOAPIC pin `pin`, below KvmVm::kIoapicPins.
  IrqLine& line(unsigned pin);
  MsiHost& messages() { return messages_; }

  // See Platform::OnEndOfInterrupt.
  void EndOfInterrupt(uint8_t vector) noexcept {
    if (ioapic_) ioapic_->EndOfInterrupt(vector);
  }

 private:
  // A line into KVM's own controllers (KVM API 4.25, KVM_IRQ_LINE).
  class KernelLine final : public IrqLine {
   public:
    void SetLevel(bool asserted) noexcept override;

   private:
    friend class PcInterrupts;
    const KvmVm* vm_ = nullptr;
    unsigned gsi_ = 0;
  };

  void SetLevelRoute(unsigned pin, std::optional<MsiMessage> message) noexcept override;

  IrqRoutes routes_;
  KvmMsiHost messages_;
  std::unique_ptr<Ioapic> ioapic_;  // null: KVM has it
  std::array<KernelLine, KvmVm::kIoapicPins> kernel_lines_;
};

}  // namespace faultline
