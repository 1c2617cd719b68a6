// The devices a PC guest is given besides those it always has: copies of what the command line says.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "devices/pci/pci_place.h"
#include "devices/virtio/devices.h"
#include "guestmem/host.h"

namespace faultline {

struct DiskConfig : BlockConfig {
  std::string id;                     // here and below; by which it is unplugged, and empty where nobody does
  std::optional<PciPlace> pci_place;  // here and below; none: the first free one
};

struct NetCardConfig {
  std::string id;
  std::optional<std::string> tap;                // the name of a tap interface
  std::shared_ptr<const FileDescriptor> tap_fd;  // or one that somebody opened; none of both: user networking
  SlirpConfig user;
  std::optional<MacAddress> mac;  // none: 52:54:00:12:34:56, and the last byte one more for each further card
  std::optional<PciPlace> pci_place;
};

// What may come and go while the guest runs.
using Card = std::variant<DiskConfig, NetCardConfig>;

struct DeviceConfig {
  std::vector<DiskConfig> disks;
  std::vector<NetCardConfig> net_cards;
  std::vector<PciPlace> root_ports;  // of PCI bus 1 and on
  bool rng = false;
  std::optional<PciPlace> rng_place;
  bool console = false;  // a virtio console, see MachineConfig::virtio_console_output
  std::optional<PciPlace> console_place;
  bool debug_exit = false;  // port 0xf4, see DebugExit
  // Cards may come and go: behind the root ports, or in the slots of the root bus where there is no root port.
  bool hotplug = false;

  bool any() const { return !disks.empty() || !net_cards.empty() || rng || console || debug_exit; }
};

}  // namespace faultline
