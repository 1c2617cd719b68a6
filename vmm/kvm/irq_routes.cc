#include "vmm/kvm/irq_routes.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "guestmem/error.h"
#include "vmm/kvm/kvm_constants.h"

namespace faultline {
namespace {

constexpr uint32_t kMostRoutes = 4096;  // KVM_MAX_IRQ_ROUTES, Linux 4.18
constexpr unsigned kPicPins = 8;

kvm_irq_routing_entry ChipEntry(uint32_t gsi, unsigned chip, unsigned pin) {
  kvm_irq_routing_entry entry{};
  entry.gsi = gsi;
  entry.type = KVM_IRQ_ROUTING_IRQCHIP;
  entry.u.irqchip.irqchip = chip;
  entry.u.irqchip.pin = pin;
  return entry;
}

// What KVM starts with when it has all the controllers itself. PIC pins 0 to 15 and IOAPIC pins share GSIs; the
// timer, GSI 0, is pin 2 of the IOAPIC.
void AppendChipEntries(std::vector<kvm_irq_routing_entry>* entries) {
  for (unsigned gsi = 0; gsi < 2 * kPicPins; ++gsi) {
    entries->push_back(ChipEntry(gsi, gsi < kPicPins ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, gsi % kPicPins));
  }
  for (unsigned gsi = 0; gsi < KvmVm::kIoapicPins; ++gsi) {
    if (gsi != 2) entries->push_back(ChipEntry(gsi, KVM_IRQCHIP_IOAPIC, gsi == 0 ? 2 : gsi));
  }
}

}  // namespace

IrqRoutes::IrqRoutes(const KvmVm& vm)
    : vm_(&vm),
      limit_(std::clamp<uint32_t>(static_cast<uint32_t>(vm.CheckExtension(KVM_CAP_IRQ_ROUTING)), KvmVm::kIoapicPins,
                                  kMostRoutes)),
      messages_(KvmVm::kIoapicPins),
      taken_(KvmVm::kIoapicPins, true) {}

uint32_t IrqRoutes::Allocate() {
  MutexLock lock(mutex_);
  const auto free = std::find(taken_.begin(), taken_.end(), false);
  const auto gsi = static_cast<uint32_t>(free - taken_.begin());
  if (gsi >= limit_) {
    throw Error("KVM has no interrupt left to give (it has " + std::to_string(limit_) + "): give the VM fewer devices");
  }
  if (free == taken_.end()) {
    taken_.push_back(true);
    messages_.emplace_back();
  } else {
    *free = true;
  }
  return gsi;
}

void IrqRoutes::Free(uint32_t gsi) noexcept {
  Set(gsi, std::nullopt);
  MutexLock lock(mutex_);
  taken_[gsi] = false;
}

int IrqRoutes::Set(uint32_t gsi, std::optional<MsiMessage> message) noexcept {
  MutexLock lock(mutex_);
  if (messages_[gsi] == message) return 0;
  const std::optional<MsiMessage> before = std::exchange(messages_[gsi], message);
  int rc = -ENOMEM;
  try {
    rc = CommitLocked();
  } catch (const std::bad_alloc&) {
    // As if the host had refused.
  }
  if (rc < 0) messages_[gsi] = before;
  return rc;
}

int IrqRoutes::CommitLocked() {
  std::vector<kvm_irq_routing_entry> entries;
  if (vm_->irq_chip() == IrqChip::kKernel) AppendChipEntries(&entries);
  for (uint32_t gsi = 0; gsi < messages_.size(); ++gsi) {
    if (!messages_[gsi]) continue;
    kvm_irq_routing_entry entry{};
    entry.gsi = gsi;
    entry.type = KVM_IRQ_ROUTING_MSI;
    entry.u.msi.address_lo = static_cast<uint32_t>(messages_[gsi]->address);
    entry.u.msi.address_hi = static_cast<uint32_t>(messages_[gsi]->address >> 32);
    entry.u.msi.data = messages_[gsi]->data;
    entries.push_back(entry);
  }
  std::vector<std::byte> request(sizeof(kvm::IrqRoutingHeader) + entries.size() * sizeof(entries[0]));
  const kvm::IrqRoutingHeader header{static_cast<uint32_t>(entries.size()), 0};
  std::memcpy(request.data(), &header, sizeof(header));
  if (!entries.empty()) {
    std::memcpy(request.data() + sizeof(header), entries.data(), entries.size() * sizeof(entries[0]));
  }
  return vm_->Ioctl(kvm::kSetGsiRouting, request.data());
}

}  // namespace faultline
