// qom-list, qom-get: the tree of objects, as far as clients walk it: the devices that have an id, and the CPUs.
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "vmm/control/arguments.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/commands/elastic.h"
#include "vmm/control/object_types.h"
#include "vmm/control/peripherals.h"
#include "vmm/control/qmp_error.h"
#include "vmm/control/vm_control.h"

namespace faultline {

using nlohmann::json;

namespace {

constexpr std::string_view kCpuPrefix = "/machine/unattached/device[";

[[noreturn]] void NoSuchPath(const std::string& path) {
  throw QmpError("DeviceNotFound", "Device '" + path.substr(0, 100) + "' not found");
}

json Entry(std::string_view name, std::string_view type) { return {{"name", name}, {"type", type}}; }

bool IsCpu(std::string_view path, const VmControl& vm) {
  if (!path.starts_with(kCpuPrefix) || !path.ends_with(']')) return false;
  path.remove_prefix(kCpuPrefix.size());
  path.remove_suffix(1);
  unsigned index = 0;
  const auto [end, error] = std::from_chars(path.data(), path.data() + path.size(), index);
  return error == std::errc() && end == path.data() + path.size() && index < vm.config().cpus;
}

json PeripheralList(VmControl& vm) {
  json list = json::array({Entry("type", "string")});
  for (const Peripheral& device : Peripherals(vm)) list.push_back(Entry(device.id, "child<" + device.driver + ">"));
  return list;
}

}  // namespace

json QomList(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const std::string path = args.String("path");
  args.Finish();
  if (path == kPeripherals) return PeripheralList(vm);
  if (IsCpu(path, vm)) {
    return json::array({Entry("type", "string"), Entry("realized", "bool"), Entry("unavailable-features", "strList")});
  }
  const auto driver = DriverOf(PeripheralId(path), vm);
  if (!driver) NoSuchPath(path);
  json list = json::array({Entry("type", "string"), Entry("realized", "bool")});
  if (const ObjectType* type = FindObjectType(*driver)) {
    for (const PropertyType& property : type->properties) list.push_back(Entry(property.name, property.type));
  }
  return list;
}

json QomGet(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const std::string path = args.String("path");
  const std::string property = args.String("property");
  args.Finish();
  const bool cpu = IsCpu(path, vm);
  const auto driver = cpu ? "host-x86_64-cpu" : DriverOf(PeripheralId(path), vm);
  if (driver && property == "type") return *driver;
  if (driver && property == "realized") return true;
  if (cpu && property == "unavailable-features") return json::array();
  if (!driver) NoSuchPath(path);
  if (auto value = ElasticProperty(std::string(PeripheralId(path)), property, vm)) return *std::move(value);
  throw QmpError("Property '" + *driver + "." + property.substr(0, 64) + "' not found");
}

}  // namespace faultline
