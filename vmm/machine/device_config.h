// The devices a PC guest is given besides those it always has: copies of what the command line says.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "devices/virtio/devices.h"

namespace faultline {

struct NetCardConfig {
  std::optional<std::string> tap;  // the name of a tap interface; none: user networking as `user` says
  SlirpConfig user;
  std::optional<MacAddress> mac;  // none: 52:54:00:12:34:56, and the last byte one more for each further card
};

struct DeviceConfig {
  std::vector<BlockConfig> disks;
  std::vector<NetCardConfig> net_cards;
  bool rng = false;
  bool console = false;     // a virtio console, which then gets what the user types
  bool debug_exit = false;  // port 0xf4, see DebugExit

  bool any() const { return !disks.empty() || !net_cards.empty() || rng || console || debug_exit; }
};

}  // namespace faultline
