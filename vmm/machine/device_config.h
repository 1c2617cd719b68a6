// The devices a PC guest is given besides those it always has: copies of what the command line says.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "devices/pci/pci_place.h"
#include "devices/virtio/devices.h"

namespace faultline {

struct DiskConfig : BlockConfig {
  std::optional<PciPlace> pci_place;  // here and below; none: the first free one
};

struct NetCardConfig {
  std::optional<std::string> tap;  // the name of a tap interface; none: user networking as `user` says
  SlirpConfig user;
  std::optional<MacAddress> mac;  // none: 52:54:00:12:34:56, and the last byte one more for each further card
  std::optional<PciPlace> pci_place;
};

struct DeviceConfig {
  std::vector<DiskConfig> disks;
  std::vector<NetCardConfig> net_cards;
  std::vector<PciPlace> root_ports;  // of PCI bus 1 and on
  bool rng = false;
  std::optional<PciPlace> rng_place;
  bool console = false;  // a virtio console, see MachineConfig::virtio_console_output
  std::optional<PciPlace> console_place;
  bool debug_exit = false;  // port 0xf4, see DebugExit

  bool any() const { return !disks.empty() || !net_cards.empty() || rng || console || debug_exit; }
};

}  // namespace faultline
