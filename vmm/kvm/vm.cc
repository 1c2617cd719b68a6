#include "vmm/kvm/vm.h"

#include <cerrno>
#include <string>

#include "guestmem/error.h"
#include "vmm/kvm/kvm_constants.h"

namespace faultline {

namespace {

// Where a processor without "unrestricted guest" keeps what it needs to run real mode: four pages at the top of
// the address space, out of everybody's way (KVM API 4.40, 4.43).
constexpr uint64_t kIdentityMap = 0xfffbc000;
constexpr uintptr_t kTss = 0xfffbd000;

}  // namespace

KvmVm::KvmVm(const KvmSystem& system, IrqChip chip) : system_(&system), chip_(chip), fd_(system.CreateVm()) {
  // Both are comforts: without the first an unknown instruction comes without its bytes, without the second
  // a slot's deletion costs the other slots their mappings. Where KVM refuses, the VM works all the same.
  EnableCapability(KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1);
  const auto quirks = static_cast<uint64_t>(CheckExtension(KVM_CAP_DISABLE_QUIRKS2));
  if ((quirks & kvm::kQuirkSlotZapAll) != 0) {
    zaps_single_slots_ = EnableCapability(KVM_CAP_DISABLE_QUIRKS2, kvm::kQuirkSlotZapAll) == 0;
  }
  if (chip_ != IrqChip::kNone) CreateIrqChip();
}

void KvmVm::CreateIrqChip() {
  // Only VMX knows these two, and does without them where it can.
  uint64_t identity_map = kIdentityMap;
  Ioctl(KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
  Ioctl(KVM_SET_TSS_ADDR, kTss);

  int rc = 0;
  if (chip_ == IrqChip::kSplit) {
    rc = EnableCapability(KVM_CAP_SPLIT_IRQCHIP, kIoapicPins);
  } else {
    rc = Ioctl(KVM_CREATE_IRQCHIP, uintptr_t{0});
    kvm_pit_config pit{};
    pit.flags = KVM_PIT_SPEAKER_DUMMY;
    if (rc >= 0) rc = Ioctl(KVM_CREATE_PIT2, &pit);
  }
  if (rc < 0) {
    throw Error("KVM made no interrupt controller (" + ErrnoText(-rc) + "): try " +
                (chip_ == IrqChip::kSplit ? "--irqchip kernel" : "--irqchip split"));
  }
}

int KvmVm::CheckExtension(unsigned capability) const noexcept {
  const int rc = host().Ioctl(fd_.get(), KVM_CHECK_EXTENSION, uintptr_t{capability});
  return rc < 0 ? 0 : rc;
}

int KvmVm::EnableCapability(unsigned capability, uint64_t argument) const noexcept {
  kvm_enable_cap request{};
  request.cap = capability;
  request.args[0] = argument;
  return host().Ioctl(fd_.get(), KVM_ENABLE_CAP, &request);
}

int KvmVm::SetUserMemoryRegion(SlotId slot, GpaRange gpa, Hva hva, bool read_only) const noexcept {
  kvm_userspace_memory_region request{};
  request.slot = slot.value;
  request.flags = read_only ? KVM_MEM_READONLY : 0;
  request.guest_phys_addr = gpa.start.value;
  request.memory_size = gpa.size.value;
  request.userspace_addr = hva.value;
  return host().Ioctl(fd_.get(), KVM_SET_USER_MEMORY_REGION, &request);
}

unsigned KvmVm::max_slots() const noexcept {
  constexpr unsigned kOldDefault = 32;  // what a KVM has that does not tell
  const int slots = CheckExtension(KVM_CAP_NR_MEMSLOTS);
  return slots > 0 ? static_cast<unsigned>(slots) : kOldDefault;
}

FileDescriptor KvmVm::CreateVcpu(unsigned index) const {
  const int fd = host().Ioctl(fd_.get(), KVM_CREATE_VCPU, uintptr_t{index});
  if (fd < 0) {
    const int most = CheckExtension(KVM_CAP_MAX_VCPUS);
    throw Error("KVM made no vCPU " + std::to_string(index) + " (" + ErrnoText(-fd) + "): ask for fewer CPUs" +
                (most > 0 ? " (this host allows " + std::to_string(most) + ")" : "") + " or free memory");
  }
  return FileDescriptor(host(), fd);
}

}  // namespace faultline
