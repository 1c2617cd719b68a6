// Where on PCI the devices of a command line sit: their bus= and addr=, and the buses that root ports add.
//
// Not thread-safe; copyable. All members throw UsageError.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "devices/pci/pci_place.h"
#include "vmm/control/object_types.h"
#include "vmm/control/option_values.h"

namespace faultline {

class PciPlaces {
 public:
  // `machine` outlives this; its bus is the root.
  explicit PciPlaces(const MachineType& machine) : machine_(&machine) {}

  // Takes bus, addr and multifunction out of `device`; nothing when it has no address.
  std::optional<PciPlace> Take(OptionValues* device) const;
  // The same for a root port, which needs an address; devices may name the bus behind it by `id` afterwards.
  PciPlace TakeRootPort(OptionValues* device, const std::string& id);

 private:
  unsigned BusNamed(const OptionValues& device, const std::string& name) const;

  const MachineType* machine_;
  std::vector<std::string> ports_;  // the ids, of bus 1 and on
};

}  // namespace faultline
