// The commands' common way to the disks and network cards of a VM. On the control thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "vmm/control/block_nodes.h"

namespace faultline {

class VmControl;

// Good while `vm` is.
IsThere DeviceIsThere(VmControl& vm);

// Whether that is the driver of a device that comes and goes on PCI.
bool IsCard(const std::string& driver);
// What device_add does with such a one. Throws QmpError and what VmControl::PlugCard throws.
void AddCard(const nlohmann::json& arguments, VmControl& vm);

}  // namespace faultline
