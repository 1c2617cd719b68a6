// query-migrate-capabilities, migrate-set-capabilities: MIGRATION events, the one capability there is.
#include <nlohmann/json.hpp>

#include "vmm/control/arguments.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/qmp_error.h"
#include "vmm/control/vm_control.h"

namespace faultline {

using nlohmann::json;

json QueryMigrateCapabilities(const json& arguments, VmControl& /*vm*/) {
  Arguments(arguments).Finish();
  return json::array({{{"capability", "events"}, {"state", true}}});
}

// Turning on what is on, or off what is not there, asks for nothing.
json MigrateSetCapabilities(const json& arguments, VmControl& /*vm*/) {
  const auto list = arguments.find("capabilities");
  if (list == arguments.end() || !list->is_array()) throw QmpError("Parameter 'capabilities' is missing");
  for (const json& entry : *list) {
    if (!entry.is_object()) throw QmpError("Invalid parameter type for 'capabilities', expected: object");
    Arguments args(entry);
    const std::string name = args.String("capability");
    const bool state = args.Bool("state", false);
    args.Finish();
    if (state != (name == "events")) {
      throw QmpError("Migration capability '" + name.substr(0, 64) + "' cannot be turned " + (state ? "on" : "off"));
    }
  }
  return json::object();
}

}  // namespace faultline
