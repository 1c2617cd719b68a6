// The parts of a VM that have names of their own on QEMU's command line, as QMP's queries list them.
//
// Plain data, made before the monitor and constant afterwards. Empty for a VM that was not started QEMU's way, but
// for its console.
#pragma once

#include <string>
#include <vector>

namespace faultline {

// A `-device` with an id. Those that the machine knows by their id are not here: see Peripherals.
struct Peripheral {
  std::string id;
  std::string driver;  // "virtio-blk-pci"
};

// A `-chardev`.
struct CharacterDevice {
  std::string id;
  std::string filename;  // "pty:/dev/pts/3", "unix:/path,server=on"
};

struct Inventory {
  std::vector<Peripheral> peripherals;
  std::vector<CharacterDevice> chardevs;
};

}  // namespace faultline
