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

// A disk: its two `-blockdev` nodes and the device that shows it to the guest.
struct DiskNode {
  std::string format_node;   // "libvirt-1-format"
  std::string storage_node;  // "libvirt-1-storage"
  std::string path;
  bool read_only = false;
  std::string device;  // the id of the -device
};

struct Inventory {
  std::vector<Peripheral> peripherals;
  std::vector<CharacterDevice> chardevs;
  std::vector<DiskNode> disks;
};

}  // namespace faultline
