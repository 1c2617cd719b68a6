// Doorbells over KVM: ioeventfds (KVM API 4.59).
//
// Owned by the machine; outlives its doorbells. Thread-safe: KVM serialises.
#pragma once

#include <memory>

#include "devices/doorbell.h"
#include "vmm/kvm/vm.h"

namespace faultline {

class KvmDoorbellHost final : public DoorbellHost {
 public:
  // `vm` outlives this.
  explicit KvmDoorbellHost(const KvmVm& vm) : vm_(&vm) {}

  std::unique_ptr<Doorbell> Add(AddressSpace space, uint64_t address, unsigned width,
                                std::optional<uint32_t> match) override;

 private:
  const KvmVm* vm_;
};

}  // namespace faultline
