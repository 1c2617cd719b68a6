// KVM's GSI routing table: which interrupt a GSI stands for.
//
// Owned by the machine, one for a VM with an interrupt controller; KVM takes the table only as a whole, so this
// keeps it. GSIs 0 to KvmVm::kIoapicPins - 1 are the IOAPIC's pins, in KVM or here; those above go to whoever
// allocates them. Thread-safe; lock: kTerminal, held across the one system call. A change waits until no CPU of the
// host uses the old table: some 10 µs to ms.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "devices/msi.h"
#include "guestmem/mutex.h"
#include "vmm/kvm/vm.h"

namespace faultline {

class IrqRoutes {
 public:
  // `vm` outlives this.
  explicit IrqRoutes(const KvmVm& vm);

  // A GSI without a message. Throws Error when KVM has no more.
  uint32_t Allocate();
  void Free(uint32_t gsi) noexcept;

  // What `gsi` sends from now on; nothing: it is not routed. 0 or -errno, the table then as before.
  int Set(uint32_t gsi, std::optional<MsiMessage> message) noexcept;

 private:
  int CommitLocked() REQUIRES(mutex_);

  const KvmVm* vm_;
  const uint32_t limit_;
  mutable Mutex mutex_;
  std::vector<std::optional<MsiMessage>> messages_ GUARDED_BY(mutex_);  // by GSI
  std::vector<bool> taken_ GUARDED_BY(mutex_);
};

}  // namespace faultline
