// query-status, query-cpus-fast, stop, cont, system_powerdown, system_reset, quit: the life of the VM.
#include <nlohmann/json.hpp>

#include "vmm/control/arguments.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/vm_control.h"

namespace faultline {

using nlohmann::json;

json QueryStatus(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  const MachineStatus status = vm.Status();
  std::string_view word = ToString(status.state);
  // QEMU has a word of its own for this one, and tools act on it.
  if (status.state == RunState::kPaused && status.pause_reason == PauseReason::kIoError) word = "io-error";
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
