// The elastic devices as the memory commands show them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace faultline {

class VmControl;

// As FaultlineMemoryDevices shows a virtio-mem device and a balloon; appended to `list`.
void AppendElasticDevices(VmControl& vm, nlohmann::json* list);
// As QEMU's query-memory-devices shows virtio-mem devices; appended to `list`.
void AppendVirtioMemInfo(const VmControl& vm, nlohmann::json* list);

// What qom-get answers for a balloon and for virtio-mem devices; QmpError for any other path or property.
nlohmann::json ElasticProperty(const std::string& path, const std::string& property, VmControl& vm);

}  // namespace faultline
