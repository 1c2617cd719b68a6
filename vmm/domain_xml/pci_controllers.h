// The buses of a domain: its PCI controllers, and where on them an <address> puts a device.
//
// Lives while <devices> is taken apart; not thread-safe. Members throw UsageError.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "devices/pci/pci_place.h"
#include "vmm/domain_xml/element.h"

namespace faultline {

class PciControllers {
 public:
  // Takes a <controller type='pci'>, whose `type` is taken already.
  void Take(Element controller);
  // After the last: the root ports by the number of their bus, which is 1 and on.
  std::vector<PciPlace> Finish();
  // Takes a device's <address>; nothing when it has none.
  std::optional<PciPlace> TakeAddress(Element* device) const;

 private:
  struct RootPort {
    uint64_t index = 0;  // what libvirt calls its bus
    PciPlace place;
  };

  std::vector<RootPort> ports_;  // in the order of their index once finished
};

}  // namespace faultline
