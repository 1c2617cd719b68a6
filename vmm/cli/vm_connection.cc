#include "vmm/cli/vm_connection.h"

#include <nlohmann/json.hpp>

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

}  // namespace faultline
