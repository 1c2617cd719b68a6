// The options of `faultline run`, checked as far as they can be without touching the host.
#pragma once

#include <optional>
#include <string>

#include "vmm/cli/guest_options.h"
#include "vmm/cli/log.h"
#include "vmm/cli/option_list.h"
#include "vmm/machine/config.h"

namespace faultline {

struct RunOptions {
  MachineConfig machine;  // without a name when none was given, and without console_output
  std::string console = "stdio";
  LogLevel log_level = LogLevel::kWarning;
  bool restart_on_reboot = false;
};

// The same as text, straight from the command line.
class RunOptionTexts {
 public:
  void Describe(OptionList& options);
  // Throws UsageError.
  RunOptions Parse() const;

 private:
  std::optional<std::string> name_, cpus_, memory_, console_, policy_, log_level_, on_reboot_;
  GuestOptionTexts guest_;
  bool paused_ = false;
};

}  // namespace faultline
