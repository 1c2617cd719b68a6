// The virtio devices of a PC guest, made as its DeviceConfig says and put on its PCI bus.
#pragma once

#include <functional>
#include <span>

#include "devices/pci/pci_bus.h"
#include "vmm/machine/device_config.h"

namespace faultline {

// Disks first, then network cards, entropy, console, each kind in the order of the config. Returns the way to the
// console's input, a part of a function on the bus, or null without a console. Throws what the factories throw.
ConsoleInput* AddVirtioCards(PciBus* bus, const DeviceConfig& config, const VirtioEnvironment& environment,
                             ConsoleOutput console);

}  // namespace faultline
