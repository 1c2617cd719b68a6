// What a machine says, in QMP's words.
//
// Stateless and thread-safe. QEMU's events where it has one: STOP, RESUME, POWERDOWN, SHUTDOWN,
// DEVICE_DELETED, DEVICE_UNPLUG_GUEST_ERROR, MEM_UNPLUG_ERROR, ACPI_DEVICE_OST, MEMORY_DEVICE_SIZE_CHANGE,
// BALLOON_CHANGE. Ours beside them:
//   X_FAULTLINE_STOPPED {reason, message}           the VM paused itself
//   X_FAULTLINE_EXITED {kind, code, message}
//   X_FAULTLINE_MEMORY_PLUGGED {id, slot, addr, size}
//   X_FAULTLINE_MEMORY_UNPLUG {operation, id, slot, addr, size, outcome, stage, forced, reason, guest-ns, ost-status?,
//   …}
//       however it ended; outcome "done" adds discarded (bytes), tables, and ns {revoke, slot-delete, scan, discard,
//       total}; guest-ns is how long the guest took
//   X_FAULTLINE_MEMORY_PROGRESS {operation, id, slot, stage}   the unplug came to that stage
//   X_FAULTLINE_UNPLUGGED_ACCESS {vcpu, rip, gpa, size, write, suppressed}
//   X_FAULTLINE_DEVICE_BROKEN {device, message}     it does nothing more until its driver resets it
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "vmm/machine/events.h"

namespace faultline {

using QmpEmit = std::function<void(std::string_view name, const nlohmann::json& data)>;

// Calls `emit` once for each QMP event that stands for `event`, in order.
void TranslateMachineEvent(const MachineEvent& event, const QmpEmit& emit);

// What became of an unplug, as X_FAULTLINE_MEMORY_UNPLUG has it, without the slot.
nlohmann::json DescribeUnplug(const UnplugResult& result);
// "guest-halt", "shutdown", "reboot", "panic", "crash", "error", "killed"
std::string_view ToString(ExitKind kind);

}  // namespace faultline
