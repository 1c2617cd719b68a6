// The options of `faultline run`, checked as far as they can be without touching the host.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "vmm/cli/guest_options.h"
#include "vmm/cli/log.h"
#include "vmm/cli/option_list.h"
#include "vmm/machine/machine.h"

namespace faultline {

struct RunOptions {
  MachineConfig machine;  // without a name when none was given, and without console_output
  std::string console = "stdio";
  LogLevel log_level = LogLevel::kWarning;
  bool restart_on_reboot = false;
  std::vector<PlugRequest> dimms;  // plugged before the guest runs
};

// The same as text, straight from the command line.
class RunOptionTexts {
 public:
  void Describe(OptionList& options);
  // Throws UsageError, or Error when a file cannot be read.
  RunOptions Parse() const;

 private:
  // What a domain XML says; throws the same.
  RunOptions FromXml() const;
  RunOptions FromOptions() const;

  std::optional<std::string> xml_, name_, cpus_, memory_, console_, policy_, log_level_, on_reboot_;
  GuestOptionTexts guest_;
  bool paused_ = false;
};

}  // namespace faultline
