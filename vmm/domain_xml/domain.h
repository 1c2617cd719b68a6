// A VM as libvirt's domain XML describes it: read from that, and written as that.
//
// Pure conversions that open nothing; thread-safe. Reading is strict: an element or attribute that is not understood
// is a UsageError that names it, and says what to do about it.
// Source: libvirt's documentation, "Domain XML format". What has no element there is kept in <metadata>, in a namespace
// of our own, which libvirt hands on.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "vmm/machine/machine.h"

namespace faultline {

struct Domain {
  MachineConfig machine;           // without console_output
  std::vector<PlugRequest> dimms;  // plugged before the guest runs
  std::string console = "none";    // as `faultline run --console` takes it
  bool restart_on_reboot = false;
};

// Throws UsageError: for text that is no XML, or no domain, for one that is not to be had, naming the element, and for
// numbers that make no machine. Names of files and of the VM are the text's and not looked at.
Domain ReadDomain(std::string_view xml);

// ReadDomain's other way round: the VM that comes of the text is the same. `emulator` is the path that <emulator>
// names. Throws UsageError for names that XML cannot hold.
std::string WriteDomain(const Domain& domain, const std::string& emulator);

}  // namespace faultline
