// Disks and network cards the way QEMU's clients describe them: what is behind them on the host, and where on PCI they
// sit. One place for the command line's and for device_add's.
//
// Used on the control thread only; copyable. Members throw UsageError.
#pragma once

#include <string>

#include "vmm/control/block_nodes.h"
#include "vmm/control/net_backends.h"
#include "vmm/control/object_types.h"
#include "vmm/control/option_values.h"
#include "vmm/control/pci_places.h"
#include "vmm/machine/device_config.h"

namespace faultline {

inline constexpr std::string_view kDiskDriver = "virtio-blk-pci";
inline constexpr std::string_view kNetCardDriver = "virtio-net-pci";

struct CardBackends {
  BlockNodes blocks;
  NetBackends nets;
  PciPlaces places{*FindMachineType("pc")};

  // The card that `device`, whose driver is one of the two above, asks for; it is not there yet.
  Card Take(const std::string& driver, OptionValues* device, const std::string& id, const IsThere& is_there);
};

}  // namespace faultline
