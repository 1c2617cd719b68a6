// The ACPI tables a PC guest finds: one block of bytes to be put into its memory, RSDP first.
//
// Hardware-reduced ACPI (ACPI 6.5 §4.1): no fixed event registers, no legacy interrupt controllers. Pure; throws
// UsageError when the tables do not fit the range.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "guestmem/types.h"
#include "vmm/acpi/pci_slots.h"

namespace faultline {

struct AcpiConfig {
  GpaRange place;             // where the block will lie; 16-byte-aligned
  unsigned cpus = 1;          // local APIC ids 0 to cpus - 1
  bool legacy_pics = false;   // MADT: there are 8259s too
  std::vector<GpaRange> ram;  // SRAT: memory the guest starts with
  // SRAT: memory that may come, a part for each NUMA node from 0 on; one alone of size 0: none.
  std::vector<GpaRange> hotplug_windows;
  unsigned memory_slots = 0;       // SSDT: how many memory devices may come; 0: none
  GpaRange ecam;                   // MCFG: PCI configuration space from bus 0 on; size 0: no PCI
  std::vector<PciSlot> pci_slots;  // SSDT: where PCI cards come and go
};

// The RSDP lies at the start of `place`. ACPI 6.5 §5.2.5 RSDP, §5.2.8 XSDT, §5.2.9 FADT, §5.2.12 MADT, §5.2.16
// SRAT; PCI Firmware 3.3 §4.1.2 MCFG.
std::vector<std::byte> BuildAcpiTables(const AcpiConfig& config);

// The compiled DSDT, as embedded.
std::span<const std::byte> CompiledDsdt();
// An SSDT with that many memory devices or a few more, the rest of which never come. Throws UsageError beyond 256.
std::span<const std::byte> CompiledMemorySlots(unsigned slots);

}  // namespace faultline
