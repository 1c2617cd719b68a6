#include "vmm/control/memory_backends.h"

#include <algorithm>

#include "vmm/control/qmp_error.h"

namespace faultline {
namespace {

bool InUse(const MemoryBackends::Backend& backend, std::span<const Peripheral> devices) {
  return !backend.device.empty() && std::ranges::find(devices, backend.device, &Peripheral::id) != devices.end();
}

}  // namespace

void MemoryBackends::Add(const std::string& id, const BackingSpec& backing, Bytes size) {
  if (id.empty()) throw QmpError("Parameter 'id' is empty");
  if (!backends_.emplace(id, Backend{backing, size, {}}).second) {
    throw QmpError("attempt to add duplicate property '" + id + "' to object (type 'container')");
  }
}

void MemoryBackends::Delete(const std::string& id, std::span<const Peripheral> devices) {
  const auto it = backends_.find(id);
  if (it == backends_.end()) throw QmpError("object '" + id + "' not found");
  if (InUse(it->second, devices)) throw QmpError("object '" + id + "' is in use, can not be deleted");
  backends_.erase(it);
}

const MemoryBackends::Backend& MemoryBackends::Free(const std::string& id, std::span<const Peripheral> devices) const {
  const auto it = backends_.find(id);
  if (it == backends_.end()) throw QmpError("Device 'memdev' not found: there is no object '" + id + "'");
  if (InUse(it->second, devices)) {
    throw QmpError("can't use already busy memdev: " + id);
  }
  return it->second;
}

void MemoryBackends::SetDevice(const std::string& id, const std::string& device) {
  // A device id of former days names another device now.
  for (auto& [other, backend] : backends_) {
    if (backend.device == device) backend.device.clear();
  }
  if (const auto it = backends_.find(id); it != backends_.end()) it->second.device = device;
}

std::optional<std::string> MemoryBackends::OfDevice(const std::string& device) const {
  for (const auto& [id, backend] : backends_) {
    if (backend.device == device) return id;
  }
  return std::nullopt;
}

}  // namespace faultline
