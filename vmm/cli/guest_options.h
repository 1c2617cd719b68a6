// The options of `faultline run` that say which guest is booted and on what machine.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "vmm/cli/option_list.h"
#include "vmm/machine/config.h"

namespace faultline {

class GuestOptionTexts {
 public:
  void Describe(OptionList& options);
  // Fills in what concerns the guest. With --linux it runs the scripts that make kernel and initrd, which may take
  // minutes, their progress on standard error. Throws UsageError, or Error when a script fails.
  void Parse(MachineConfig* config) const;
  // The name of one that was given, if any was.
  std::optional<std::string> AnyGiven() const;

 private:
  bool Boots() const { return kernel_ || linux_; }
  // The same of those that are no use to the built-in guest.
  std::optional<std::string> AnyForKernel() const;
  void ParseDevices(DeviceConfig* devices) const;

  std::optional<std::string> kernel_, initrd_, append_, irqchip_, balloon_;
  std::vector<std::string> devices_, disks_, nets_, virtio_mems_;
  bool linux_ = false;
  bool rng_ = false;
  bool virtio_console_ = false;
};

}  // namespace faultline
