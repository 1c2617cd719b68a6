// What a command line of QEMU's asks for, in our own words: the machine, its console, its monitors, and how the
// process behaves.
//
// Plain data. Descriptors are numbers that the process inherited; whoever acts on the plan takes them over.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "vmm/control/card_backends.h"
#include "vmm/control/inventory.h"
#include "vmm/machine/machine.h"

namespace faultline {

// `-chardev`
struct CharacterPlan {
  enum class Kind : uint8_t { kNull, kPty, kFile, kSocket };
  std::string id;
  Kind kind = Kind::kNull;
  std::string path;     // kFile and kSocket, unless `fd` is there
  int fd = -1;          // kSocket: it listens already; kFile: it is open
  bool append = false;  // kFile
};

// Memory backing that has a name: `-object memory-backend-…`
struct BackendPlan {
  std::string id;
  BackingSpec backing;
  Bytes size;
  std::string device;  // whose memory it is
};

struct QemuPlan {
  // `-machine none`: a monitor that answers what there could be, and no machine behind it.
  bool probe = false;
  MachineConfig machine;                // without the outputs of its consoles
  std::vector<BackendPlan> backends;    // those of `dimms` and of virtio-mem devices
  std::vector<PlugRequest> dimms;       // plugged before the guest runs
  CharacterPlan console;                // of the serial port
  CharacterPlan virtio_console;         // of machine.devices.console
  std::vector<CharacterPlan> monitors;  // kSocket
  CardBackends cards;                   // of the disks and network cards, and of those that may come
  Inventory inventory;                  // without chardevs: their names are known once they are made
  bool stay_after_shutdown = false;
  bool end_on_reboot = false;
  bool daemonize = false;
  std::string pid_file;
};

// Takes the command line apart, without the program's name. Opens nothing. Throws UsageError for all that is unknown,
// not supported or contradictory: the sentence names the option and, where libvirt wrote it, the element of the
// domain's XML that stands behind it.
QemuPlan PlanFromCommandLine(std::span<const std::string> arguments);

}  // namespace faultline
