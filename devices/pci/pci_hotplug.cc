#include "devices/pci/pci_hotplug.h"

#include <utility>

namespace faultline {
namespace {

constexpr size_t kWidth = sizeof(uint32_t);

}  // namespace

void PciHotplug::Tell(size_t which, unsigned slot) {
  {
    MutexLock lock(mutex_);
    news_[which] |= 1U << slot;
  }
  requests_.notify();
}

void PciHotplug::Withdraw(unsigned slot) {
  MutexLock lock(mutex_);
  for (uint32_t& slots : news_) slots &= ~(1U << slot);
}

void PciHotplug::Read(Bytes offset, std::span<std::byte> out) {
  uint32_t value = 0;
  if (out.size() == kWidth && offset.value % kWidth == 0 && offset.value / kWidth < kEject) {
    MutexLock lock(mutex_);
    value = std::exchange(news_[offset.value / kWidth], 0);
  }
  StoreLittleEndian(value, out);
}

void PciHotplug::Write(Bytes offset, std::span<const std::byte> data) {
  if (data.size() != kWidth || offset.value != kEject * kWidth) return;
  const auto slots = static_cast<uint32_t>(LoadLittleEndian(data));
  for (unsigned slot = 0; slot < kSlots; ++slot) {
    if ((slots >> slot & 1) != 0) requests_.eject(slot);
  }
}

}  // namespace faultline
