// The ACPI table by which a guest learns that PCI cards come and go: one device object for each slot, driven by the
// registers of devices/pci/pci_hotplug.h.
//
// Made here rather than compiled from ASL, since which slots there are is the VM's. Pure; thread-safe.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "devices/pci/pci_place.h"

namespace faultline {

// A slot that a card may come to and go from.
struct PciSlot {
  unsigned number = 0;           // of its bits in the registers
  PciPlace place;                // of the card
  std::optional<PciPlace> port;  // the root port in front of it; none: it is on the root bus
};

// An SSDT. Each slot has _ADR, _SUN and _EJ0 (ACPI 6.5 §6.1.1, §6.1.11, §6.3.3); \_SB.PCI0.PSCN, which the event device
// calls, tells the guest of cards that came (device check) and that are wanted back (eject request, §5.6.6).
std::vector<std::byte> PciSlotTable(std::span<const PciSlot> slots);

}  // namespace faultline
