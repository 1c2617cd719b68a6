// A PCI Express root port: a bridge to a bus of its own, on which one device sits (PCI Express 3.0 §7.3, PCI-to-PCI
// Bridge 1.2 §3.2).
//
// Owned by the PciBus, which looks up in it which bus number leads behind it. It forwards everything: a device behind
// it is reached wherever its BAR lies. Hot-plug is ACPI's affair (devices/pci/pci_hotplug.h), so it has no slot
// registers. No I/O and no prefetchable window, no interrupts of its own.
#pragma once

#include <atomic>

#include "devices/pci/pci_function.h"
#include "guestmem/types.h"

namespace faultline {

class RootPort final : public PciFunction {
 public:
  // What firmware would choose: guests may change it.
  explicit RootPort(unsigned bus);

  // The bus number behind it, as the guest has it now.
  unsigned bus() const { return bus_.load(std::memory_order_relaxed); }
  // For the PciBus, while the machine is set up: where the guest is told the memory behind it lies; whole MiB.
  void SetWindow(GpaRange window);

 private:
  void OnReset() override { bus_.store(first_bus_, std::memory_order_relaxed); }
  void AfterConfigWrite(ConfigSpace& config, unsigned offset, size_t size) override;

  const unsigned first_bus_;
  std::atomic<unsigned> bus_;
};

}  // namespace faultline
