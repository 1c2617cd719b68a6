#include "vmm/cli/vm_connection.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "vmm/control/runtime_dir.h"
#include "vmm/control/vm_lease.h"

namespace faultline {

std::unique_ptr<QmpClient> ConnectToVm(const std::string& name, std::chrono::nanoseconds timeout) {
  const RunningVm vm = FindVm(RuntimeDirectory(), name);
  return std::make_unique<QmpClient>(vm.socket_path, name, QmpClient::Clock::now() + timeout);
}

nlohmann::json AskVm(const std::string& name, std::string_view command, const nlohmann::json& arguments) {
  return ConnectToVm(name)->Execute(command, arguments, QmpClient::Clock::now() + kAnswerTime);
}

bool AwaitVmEnd(QmpClient& client, const std::string& name, QmpClient::Clock::time_point deadline) {
  try {
    while (client.NextEvent(deadline)) {
    }
    return false;
  } catch (const VmGone&) {
  }
  // It hung up, and gives its name back a moment later. A later VM of that name is another one.
  std::optional<pid_t> ending;
  while (true) {
    const auto vms = RunningVms(RuntimeDirectory());
    const auto vm = std::ranges::find(vms, name, &RunningVm::name);
    if (vm == vms.end() || vm->pid != ending.value_or(vm->pid)) return true;
    if (QmpClient::Clock::now() > deadline) return false;
    ending = vm->pid;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace faultline
