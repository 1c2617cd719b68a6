// One VM of KVM, with or without an in-kernel interrupt controller.
//
// Owned by whoever runs the VM; outlives its vCPUs and its memslot table. Thread-safe: KVM serialises.
#pragma once

#include "guestmem/host.h"
#include "guestmem/types.h"
#include "vmm/kvm/system.h"

namespace faultline {

// A memslot's number in KVM.
struct SlotId {
  uint32_t value = 0;
  friend constexpr auto operator<=>(SlotId, SlotId) = default;
};

// Who answers as interrupt controller.
enum class IrqChip : uint8_t {
  kNone,    // nobody: quickest to set up, for a guest without interrupts
  kSplit,   // local APICs in KVM, the IOAPIC in this process (KVM API 7.5, KVM_CAP_SPLIT_IRQCHIP)
  kKernel,  // local APICs, IOAPIC, PICs and PIT in KVM: 10 ms more to set up
};

class KvmVm {
 public:
  // Pins of the one IOAPIC, in this process or in KVM; GSI and pin are the same number.
  static constexpr unsigned kIoapicPins = 24;

  // Throws Error. Where KVM can delete one slot without zapping all (quirk SLOT_ZAP_ALL), it is told to.
  explicit KvmVm(const KvmSystem& system, IrqChip chip = IrqChip::kNone);

  const KvmSystem& system() const { return *system_; }
  Host& host() const { return system_->host(); }
  IrqChip irq_chip() const { return chip_; }

  int CheckExtension(unsigned capability) const noexcept;
  // 0 or -errno (KVM API 4.37).
  int EnableCapability(unsigned capability, uint64_t argument = 0) const noexcept;
  // True when a slot's deletion leaves the other slots' mappings alone.
  bool zaps_single_slots() const { return zaps_single_slots_; }

  // Adds a slot, or deletes it when `size` is 0. 0 or -errno (KVM API 4.35). Blocks until every vCPU inside
  // KVM_RUN has passed a point where it cannot use the old slots: a fault that nobody serves blocks it for ever.
  int SetUserMemoryRegion(SlotId slot, GpaRange gpa, Hva hva, bool read_only) const noexcept;

  // How many slots the VM can have.
  unsigned max_slots() const noexcept;

  // Throws Error.
  FileDescriptor CreateVcpu(unsigned index) const;

  // The VM's ioctls; 0 or more, or -errno.
  int Ioctl(unsigned long request, void* argument) const noexcept { return host().Ioctl(fd_.get(), request, argument); }
  int Ioctl(unsigned long request, uintptr_t argument) const noexcept {
    return host().Ioctl(fd_.get(), request, argument);
  }

 private:
  void CreateIrqChip();

  const KvmSystem* system_;
  const IrqChip chip_;
  FileDescriptor fd_;
  bool zaps_single_slots_ = false;
};

}  // namespace faultline
