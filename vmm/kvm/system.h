// /dev/kvm, opened: what this host's KVM offers, and the way to make VMs.
//
// Thread-safe. Nothing here blocks for long.
#pragma once

#include <memory>
#include <vector>

#include "guestmem/host.h"
#include "guestmem/mutex.h"
#include "guestmem/types.h"
#include "vmm/kvm/kvm_constants.h"

namespace faultline {

class KvmSystem {
 public:
  // Throws Error, with the way out, when /dev/kvm is absent, forbidden or speaks another API version.
  explicit KvmSystem(Host& host);

  Host& host() const { return *host_; }
  // The capability's value, 0 when absent (KVM API 4.4).
  int CheckExtension(unsigned capability) const noexcept;
  // What each vCPU's shared page needs.
  Bytes run_size() const { return run_size_; }
  // Throws Error.
  FileDescriptor CreateVm() const;
  // The CPUID leaves that KVM can offer (KVM API 4.46), asked for once: that takes longer than most of a VM's
  // set-up. Throws Error.
  const kvm::CpuidList& SupportedCpuid() const EXCLUDES(mutex_);
  // The model-specific registers that a vCPU's saved state has to hold (KVM API 4.3). Throws Error.
  std::vector<uint32_t> MsrIndices() const;
  // True when a guest that is given SupportedCpuid may use 1 GiB pages. Throws Error.
  bool HasGibPages() const;

 private:
  Host* host_;
  FileDescriptor fd_;
  Bytes run_size_;

  mutable Mutex mutex_;
  mutable std::unique_ptr<kvm::CpuidList> cpuid_ GUARDED_BY(mutex_);  // constant once there
};

}  // namespace faultline
