// /dev/kvm, opened: what this host's KVM offers, and the way to make VMs.
//
// Immutable after construction, so thread-safe. Nothing here blocks for long.
#pragma once

#include <memory>

#include "guestmem/host.h"
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
  // The CPUID leaves that KVM can offer, read once (KVM API 4.46). Throws Error.
  const kvm::CpuidList& SupportedCpuid() const { return *cpuid_; }
  // True when guests may use 1 GiB pages.
  bool has_gib_pages() const noexcept;

 private:
  Host* host_;
  FileDescriptor fd_;
  Bytes run_size_;
  std::unique_ptr<kvm::CpuidList> cpuid_;
};

}  // namespace faultline
