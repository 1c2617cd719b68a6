// query-commands, query-version, query-name, query-kvm: what the monitor says about itself.
#include <nlohmann/json.hpp>

#include "vmm/control/arguments.h"
#include "vmm/control/command_table.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/qmp_message.h"
#include "vmm/control/qmp_session.h"
#include "vmm/control/vm_control.h"

namespace faultline {

using nlohmann::json;

json QueryCommands(const json& arguments, VmControl& /*vm*/) {
  Arguments(arguments).Finish();
  json list = json::array();
  for (const std::string_view name : kSessionCommands) list.push_back({{"name", name}});
  for (const Command& c : QmpCommands()) list.push_back({{"name", c.name}});
  return list;
}

json QueryVersion(const json& arguments, VmControl& /*vm*/) {
  Arguments(arguments).Finish();
  return QmpVersion();
}

json QueryName(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  return {{"name", vm.config().name}};
}

json QueryKvm(const json& arguments, VmControl& /*vm*/) {
  Arguments(arguments).Finish();
  return {{"enabled", true}, {"present", true}};
}

}  // namespace faultline
