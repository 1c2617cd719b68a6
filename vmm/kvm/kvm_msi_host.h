// Message-signalled interrupts over KVM: a vector is an irqfd with a route of its own (KVM API 4.75, KVM_IRQFD), a
// single message an ioctl (KVM API 4.70, KVM_SIGNAL_MSI).
//
// Owned by the machine; outlives its vectors. Thread-safe as MsiHost says.
#pragma once

#include <memory>

#include "devices/msi.h"
#include "vmm/kvm/irq_routes.h"

namespace faultline {

class KvmMsiHost final : public MsiHost {
 public:
  // Both outlive this.
  KvmMsiHost(const KvmVm& vm, IrqRoutes& routes) : vm_(&vm), routes_(&routes) {}

  std::unique_ptr<MsiVector> NewVector() override;
  void Send(const MsiMessage& message) noexcept override;

 private:
  const KvmVm* vm_;
  IrqRoutes* routes_;
};

}  // namespace faultline
