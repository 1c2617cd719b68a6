// How a subcommand reaches a running VM.
//
// Stateless; every function blocks up to the time it is given, and throws UsageError for a name that no VM
// has and Error for a VM that does not answer.
#pragma once

#include <chrono>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "vmm/control/qmp_client.h"

namespace faultline {

// How long a VM may take for an answer that needs nothing of the guest.
inline constexpr std::chrono::seconds kAnswerTime{10};

std::unique_ptr<QmpClient> ConnectToVm(const std::string& name, std::chrono::nanoseconds timeout = kAnswerTime);

// Connects, runs one command and hangs up.
nlohmann::json AskVm(const std::string& name, std::string_view command, const nlohmann::json& arguments);

// Waits until the VM, which was asked to end, is gone and its name is free for another. False at the deadline.
bool AwaitVmEnd(QmpClient& client, const std::string& name, QmpClient::Clock::time_point deadline);

}  // namespace faultline
