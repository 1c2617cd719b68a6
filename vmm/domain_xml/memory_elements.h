// The elements that are about memory: its backing, and the devices <memory> and <memballoon>.
#pragma once

#include "vmm/domain_xml/domain.h"
#include "vmm/domain_xml/element.h"
#include "vmm/domain_xml/pci_controllers.h"

namespace faultline {

// All throw UsageError.

// libvirt's words for a kind of memory, in <memoryBacking> and in a <source>.
BackingSpec TakeBacking(Element* backing);

// Takes the <memory> devices and the balloon out of <devices>. How much the balloon takes follows from
// <currentMemory>, which is not its own: its target stays zero.
void TakeMemoryDevices(Element* devices, const PciControllers& pci, Domain* domain);

// <memory>, <maxMemory> and <currentMemory>, once all devices are known. `in_cells`: what <cpu><numa> says that boot
// memory is.
void TakeMemorySizes(Element* domain, std::optional<Bytes> in_cells, Domain* result);

}  // namespace faultline
