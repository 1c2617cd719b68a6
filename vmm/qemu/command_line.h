// The options of QEMU's command line, collected: which were given, not yet what they mean together.
//
// Source: QEMU qemu-doc, "Invocation"; and what libvirt 9.0 writes.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vmm/control/option_values.h"

namespace faultline {

struct QemuCommandLine {
  std::string name;
  std::optional<OptionValues> machine, memory, smp, cpu, accel;
  std::vector<OptionValues> objects, numa, chardevs, monitors, blockdevs, netdevs, devices;
  std::map<uint64_t, int> fd_sets;  // -add-fd: the last descriptor of each set, which is "/dev/fdset/N" elsewhere
  std::vector<std::string> monitor_addresses;  // of -qmp
  std::optional<std::string> kernel, initrd, append, pid_file;
  bool paused = false, incoming = false, no_shutdown = false, no_reboot = false, daemonize = false;
};

// Throws UsageError for an option that is not known, or has a value that can be judged by itself and is not supported.
QemuCommandLine CollectOptions(std::span<const std::string> arguments);

}  // namespace faultline
