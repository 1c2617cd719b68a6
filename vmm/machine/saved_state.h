// The state of a machine's parts as JSON values with binary strings in them, which CBOR writes down as they are.
//
// Pure conversions; thread-safe. What comes from outside may be damaged: the functions that read throw Error, or
// nlohmann::json::exception, which a caller turns into one.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "devices/memory_hotplug.h"
#include "devices/serial.h"
#include "vmm/kvm/vcpu_state.h"
#include "vmm/machine/config.h"

namespace faultline {

// What of a configuration a restored machine must have in common with the saved one.
nlohmann::json ToJson(const MachineConfig& config);
// UsageError, naming what differs.
void CheckSameConfig(const MachineConfig& config, const nlohmann::json& saved);
// A configuration that passes that check: CPUs, memory, and a name if `otherwise` has none; all else as there.
MachineConfig MachineConfigFrom(const nlohmann::json& saved, MachineConfig otherwise);

nlohmann::json ToJson(const VcpuState& state);
VcpuState VcpuStateFrom(const nlohmann::json& saved);

nlohmann::json ToJson(const Serial::State& state);
Serial::State SerialStateFrom(const nlohmann::json& saved);

nlohmann::json ToJson(const MemoryHotplug::State& state);
MemoryHotplug::State MemoryHotplugStateFrom(const nlohmann::json& saved);

}  // namespace faultline
