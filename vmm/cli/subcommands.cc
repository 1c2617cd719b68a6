#include <array>

#include "vmm/cli/subcommand.h"

namespace faultline {

std::span<const SubcommandEntry> Subcommands() {
  static constexpr std::array kSubcommands{
      SubcommandEntry{"", "run", "Run a virtual machine in the foreground", MakeRun},
      SubcommandEntry{"", "list", "Show the running VMs", MakeList},
      SubcommandEntry{"", "info", "Show all about one VM", MakeInfo},
      SubcommandEntry{"", "top", "Watch all VMs: memory, faults, and where pages are", MakeTop},
      SubcommandEntry{"memory", "plug", "Give a running VM more memory", MakeMemoryPlug},
      SubcommandEntry{"memory", "unplug", "Take plugged memory back", MakeMemoryUnplug},
      SubcommandEntry{"memory", "resize", "Have the guest use more or less of a virtio-mem device", MakeMemoryResize},
      SubcommandEntry{"memory", "balloon", "Have the guest's balloon take memory, or give it back", MakeMemoryBalloon},
      SubcommandEntry{"memory", "trim", "Take the guest's free memory, once", MakeMemoryTrim},
      SubcommandEntry{"memory", "auto", "Have memory follow what host and guest need of it", MakeMemoryAuto},
      SubcommandEntry{"memory", "list", "Show the plugged memory of a VM", MakeMemoryList},
      SubcommandEntry{"memory", "operations", "Show unplugs under way and their outcomes", MakeMemoryOperations},
      SubcommandEntry{"memory", "cancel", "Withdraw an unplug that waits for the guest", MakeMemoryCancel},
      SubcommandEntry{"", "pause", "Stop the vCPUs of a VM", MakePause},
      SubcommandEntry{"", "resume", "Let a paused VM go on", MakeResume},
      SubcommandEntry{"", "shutdown", "Ask the guest to end", MakeShutdown},
      SubcommandEntry{"", "kill", "End a VM at once", MakeKill},
      SubcommandEntry{"", "save", "Write a VM to a file, to go on from there another time", MakeSave},
      SubcommandEntry{"", "restore", "Let a saved VM go on", MakeRestore},
      SubcommandEntry{"", "xml", "Print a VM as libvirt's domain XML, to start another like it", MakeXml},
      SubcommandEntry{"", "events", "Follow what happens in a VM", MakeEvents},
      SubcommandEntry{"", "storm", "Prove the memory protocol under a storm of faults and unplugs", MakeStorm},
      SubcommandEntry{"", "version", "Show the version of this program", MakeVersion},
  };
  return kSubcommands;
}

}  // namespace faultline
