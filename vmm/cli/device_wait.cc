#include "vmm/cli/device_wait.h"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "guestmem/error.h"
#include "vmm/cli/output.h"
#include "vmm/cli/quantity.h"
#include "vmm/cli/vm_connection.h"

namespace faultline {
namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kLook{50};

json Look(QmpClient& client, const DeviceWait& wait) {
  for (json& one :
       client.Execute("x-faultline-memory-devices", json::object(), QmpClient::Clock::now() + kAnswerTime)) {
    if (one.at(wait.which.first) == wait.which.second) return std::move(one);
  }
  throw Error("VM '" + wait.vm + "' no longer has a device of " + wait.which.first + " '" + wait.which.second + "'");
}

}  // namespace

json AwaitDevice(QmpClient& client, const DeviceWait& wait) {
  const bool show = wait.show_progress && isatty(STDERR_FILENO) == 1;
  const auto deadline = wait.start + wait.timeout;
  bool shown = false;
  for (;;) {
    json device = Look(client, wait);
    const auto now = QmpClient::Clock::now();
    const bool over = device.at(wait.size_key) == device.at("requested") || now >= deadline;
    if (show && (shown || now - wait.start > std::chrono::seconds(1))) {
      std::string line = "\r\033[K";
      if (!over) {
        line += device.at("id").get<std::string>();
        line += ": " + ReadableSize(Bytes(device.at(wait.size_key).get<uint64_t>())) + " … ";
      }
      PrintProgress(line);
      shown = true;
    }
    if (over) return device;
    std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(kLook, deadline - now));
  }
}

}  // namespace faultline
