// What a management tool asks before it starts anything: machines, CPUs, types and their properties.
#include <nlohmann/json.hpp>

#include "vmm/control/arguments.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/object_types.h"
#include "vmm/control/qmp_error.h"
#include "vmm/control/vm_control.h"

namespace faultline {

using nlohmann::json;

namespace {

// What a type's `properties` are in QMP.
json Properties(const ObjectType& type) {
  json list = json::array();
  for (const PropertyType& property : type.properties) {
    list.push_back({{"name", property.name}, {"type", property.type}});
  }
  return list;
}

}  // namespace

json QueryTarget(const json& arguments, VmControl& /*vm*/) {
  Arguments(arguments).Finish();
  return {{"arch", "x86_64"}};
}

json QueryMachines(const json& arguments, VmControl& /*vm*/) {
  Arguments(arguments).Finish();
  json list = json::array();
  for (const MachineType& machine : MachineTypes()) {
    list.push_back({{"name", machine.name},
                    {"alias", machine.alias},
                    {"is-default", machine.is_default},
                    {"cpu-max", 256},
                    {"hotpluggable-cpus", false},
                    {"numa-mem-supported", false},
                    {"deprecated", false},
                    {"default-cpu-type", "host-x86_64-cpu"},
                    {"default-ram-id", "pc.ram"}});
  }
  return list;
}

json QueryCpuDefinitions(const json& arguments, VmControl& /*vm*/) {
  Arguments(arguments).Finish();
  return json::array({{{"name", "host"},
                       {"typename", "host-x86_64-cpu"},
                       {"unavailable-features", json::array()},
                       {"migration-safe", false},
                       {"static", false},
                       {"deprecated", false}}});
}

// The guest gets the host's CPU, so there are no properties to choose.
json QueryCpuModelExpansion(const json& arguments, VmControl& /*vm*/) {
  const auto model = arguments.find("model");
  const auto name = model == arguments.end() || !model->is_object() ? json() : model->value("name", json());
  if (name != "host") throw QmpError("The only CPU model is 'host'");
  return {{"model", {{"name", "host"}, {"props", json::object()}}}};
}

json QomListTypes(const json& arguments, VmControl& /*vm*/) {
  Arguments args(arguments);
  const auto implements = args.OptionalString("implements");
  args.Bool("abstract", false);
  args.Finish();
  json list = json::array();
  for (const ObjectType& type : ObjectTypes()) {
    if (implements && *implements != type.parent) continue;
    list.push_back({{"name", type.name}, {"parent", type.parent}});
  }
  return list;
}

json DeviceListProperties(const json& arguments, VmControl& /*vm*/) {
  Arguments args(arguments);
  const std::string name = args.String("typename");
  args.Finish();
  const ObjectType* const type = FindObjectType(name);
  if (type == nullptr) throw QmpError("DeviceNotFound", "Device '" + name.substr(0, 64) + "' not found");
  return Properties(*type);
}

// libvirt 9.0 does not survive an error here, so a type that is not there has no properties.
json QomListProperties(const json& arguments, VmControl& /*vm*/) {
  Arguments args(arguments);
  const std::string name = args.String("typename");
  args.Finish();
  const ObjectType* const type = FindObjectType(name);
  return type == nullptr ? json::array() : Properties(*type);
}

// Describes options beyond those that every version has; there are none.
json QueryCommandLineOptions(const json& arguments, VmControl& /*vm*/) {
  Arguments args(arguments);
  args.OptionalString("option");
  args.Finish();
  return json::array();
}

}  // namespace faultline
