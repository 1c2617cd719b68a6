// The elastic devices as the memory commands show them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace faultline {

class VmControl;

// As FaultlineMemoryDevices shows a virtio-mem device and a balloon; appended to `list`.
void AppendElasticDevices(VmControl& vm, nlohmann::json* list);
// As QEMU's query-memory-devices shows virtio-mem devices; appended to `list`.
void AppendVirtioMemInfo(VmControl& vm, nlohmann::json* list);

// What qom-get answers for the balloon and for virtio-mem devices; nothing for any other device or property.
std::optional<nlohmann::json> ElasticProperty(const std::string& id, const std::string& property, VmControl& vm);

}  // namespace faultline
