// query-status, query-cpus-fast, stop, cont, system_powerdown, system_reset, quit: the life of the VM.
#include <nlohmann/json.hpp>

#include "vmm/control/arguments.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/vm_control.h"

namespace faultline {

using nlohmann::json;

namespace {

// QEMU has words of its own for some ways to be paused, and tools act on them.
std::string_view Word(const MachineStatus& status, const MigrationInfo& migration, bool incoming) {
  if (status.state == RunState::kPrelaunch && incoming) return migration.restored() ? "paused" : "inmigrate";
  const bool paused = status.state == RunState::kPaused || status.state == RunState::kPrelaunch;
  if (paused && migration.active()) return "finish-migrate";
  if (paused && migration.saved_last) return "postmigrate";
  if (status.state == RunState::kPaused && status.pause_reason == PauseReason::kIoError) return "io-error";
  return ToString(status.state);
}

}  // namespace

json QueryStatus(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  const MachineStatus status = vm.Status();
  const std::string_view word = Word(status, vm.MigrationState(), vm.config().incoming);
  return {{"running", status.state == RunState::kRunning}, {"singlestep", false}, {"status", word}};
}

json QueryCpusFast(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  json list = json::array();
  for (const VcpuInfo& cpu : vm.Status().vcpus) {
    list.push_back({{"cpu-index", cpu.index},
                    {"qom-path", "/machine/unattached/device[" + std::to_string(cpu.index) + "]"},
                    {"thread-id", cpu.thread_id},
                    {"target", "x86_64"},
                    {"props", {{"socket-id", cpu.index}, {"core-id", 0}, {"thread-id", 0}}}});
  }
  return list;
}

json Stop(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  vm.Pause();
  return json::object();
}

json Cont(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  vm.Resume();
  return json::object();
}

json SystemPowerdown(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  vm.RequestShutdown();
  return json::object();
}

json SystemReset(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  vm.Reset();
  return json::object();
}

json Quit(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  vm.Quit();
  return json::object();
}

}  // namespace faultline
