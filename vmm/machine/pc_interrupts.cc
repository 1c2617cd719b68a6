#include "vmm/machine/pc_interrupts.h"

#include "vmm/machine/pc_layout.h"

namespace faultline {

static_assert(Ioapic::kPins == KvmVm::kIoapicPins && Ioapic::kAddress == pc::kIoapic.value);

PcInterrupts::PcInterrupts(const KvmVm& vm, Bus& mmio) : routes_(vm), messages_(vm, routes_) {
  for (unsigned gsi = 0; gsi < kernel_lines_.size(); ++gsi) {
    kernel_lines_[gsi].vm_ = &vm;
    kernel_lines_[gsi].gsi_ = gsi;
  }
  if (vm.irq_chip() != IrqChip::kSplit) return;
  ioapic_ = std::make_unique<Ioapic>(messages_, static_cast<IoapicRoutes&>(*this));
  mmio.Attach(Ioapic::kAddress, Ioapic::kWindow, *ioapic_);
}

IrqLine& PcInterrupts::line(unsigned pin) {
  if (ioapic_) return ioapic_->line(pin);
  return kernel_lines_[pin];
}

void PcInterrupts::SetLevelRoute(unsigned pin, std::optional<MsiMessage> message) noexcept {
  // A refusal leaves the guest without the end of that interrupt: it comes once and no more.
  static_cast<void>(routes_.Set(pin, message));
}

void PcInterrupts::KernelLine::SetLevel(bool asserted) noexcept {
  kvm_irq_level level{};
  level.irq = gsi_;
  level.level = asserted ? 1 : 0;
  vm_->Ioctl(KVM_IRQ_LINE, &level);
}

}  // namespace faultline
