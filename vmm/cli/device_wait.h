// Waits for a guest to follow what was asked of its virtio-mem device or its balloon.
//
// Stateless and thread-safe. Blocks up to the time it is given; throws Error when the VM does not answer or the device
// is gone.
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>

#include "vmm/control/qmp_client.h"

namespace faultline {

struct DeviceWait {
  std::string vm;
  std::pair<const char*, std::string> which;  // in x-faultline-memory-devices: {"id", "vmem0"}, {"type", "balloon"}
  const char* size_key;                       // what becomes equal to its "requested"
  bool show_progress;                         // on a terminal, after a second
  QmpClient::Clock::time_point start;
  std::chrono::nanoseconds timeout;
};

// The device once the guest has followed, or as it is when time is up.
nlohmann::json AwaitDevice(QmpClient& client, const DeviceWait& wait);

}  // namespace faultline
