// The devices a PC guest is given besides those it always has: copies of what the command line says.
#pragma once

#include <vector>

#include "devices/virtio/devices.h"

namespace faultline {

struct DeviceConfig {
  std::vector<BlockConfig> disks;
  bool rng = false;
  bool console = false;     // a virtio console, which then gets what the user types
  bool debug_exit = false;  // port 0xf4, see DebugExit

  bool any() const { return !disks.empty() || rng || console || debug_exit; }
};

}  // namespace faultline
