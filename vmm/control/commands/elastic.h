// The elastic devices as the memory commands show them.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace faultline {

class VmControl;

// As FaultlineMemoryDevices shows a virtio-mem device and a balloon; appended to `list`.
void AppendElasticDevices(VmControl& vm, nlohmann::json* list);
// As QEMU's query-memory-devices shows virtio-mem devices; appended to `list`.
void AppendVirtioMemInfo(const VmControl& vm, nlohmann::json* list);

}  // namespace faultline
