// The devices of a VM that have an id, and where QMP clients find them: "/machine/peripheral/ID".
//
// On the control thread, as VmControl.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/control/inventory.h"

namespace faultline {

class VmControl;

inline constexpr std::string_view kPeripherals = "/machine/peripheral";

std::string PeripheralPath(std::string_view id);
// The id in such a path; any other text is taken for an id itself, as QEMU does.
std::string_view PeripheralId(std::string_view path);

// Those of the command line, then what the machine itself has: disks, network cards, virtio-mem, the balloon, plugged
// memory.
std::vector<Peripheral> Peripherals(VmControl& vm);
// Nothing when there is none with that id.
std::optional<std::string> DriverOf(std::string_view id, VmControl& vm);

}  // namespace faultline
