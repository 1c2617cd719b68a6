// What of plugged memory a saved VM has to contain.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "guestmem/error.h"
#include "vmm/machine/plugged_memory.h"
#include "vmm/machine/saved_state.h"

namespace faultline {

using nlohmann::json;

json PluggedMemory::SaveState() const {
  json devices = json::array();
  MutexLock lock(mutex_);
  for (const auto& [id, device] : table_.devices()) {
    if (device.phase != MemoryDevice::Phase::kPlugged) {
      throw UsageError("memory '" + id + "' is being plugged or unplugged: wait until that is over, then save the VM");
    }
    devices.push_back({{"id", id},
                       {"slot", device.slot},
                       {"node", device.node},
                       {"addr", device.gpa.start.value},
                       {"size", device.gpa.size.value},
                       {"backing", ToString(device.backing)},
                       {"late-eject-possible", device.late_eject_possible},
                       {"insert-status", device.insert_status ? json(*device.insert_status) : json()}});
  }
  return {{"devices", std::move(devices)}, {"registers", ToJson(registers_.SaveState())}};
}

void PluggedMemory::RestoreState(const json& state) {
  const std::vector<MemoryDeviceInfo> present = List();
  for (const json& saved : state.at("devices")) {
    PlugRequest request;
    saved.at("id").get_to(request.id);
    request.size = Bytes(saved.at("size").get<uint64_t>());
    request.slot = saved.at("slot").get<unsigned>();
    saved.at("node").get_to(request.node);
    request.address = Gpa(saved.at("addr").get<uint64_t>());
    request.backing = ParseBackingSpec(saved.at("backing").get<std::string>());
    const auto same = [&request](const MemoryDeviceInfo& device) {
      return device.id == request.id && device.slot == *request.slot &&
             device.gpa == GpaRange{*request.address, request.size};
    };
    if (std::ranges::none_of(present, same)) Plug(request);
    MutexLock lock(mutex_);
    MemoryDevice& device = *table_.Find(request.id);
    saved.at("late-eject-possible").get_to(device.late_eject_possible);
    if (const json& status = saved.at("insert-status"); !status.is_null()) {
      device.insert_status = status.get<uint32_t>();
    }
  }
  // Refuses what is plugged here and was not there.
  registers_.RestoreState(MemoryHotplugStateFrom(state.at("registers")));
}

}  // namespace faultline
