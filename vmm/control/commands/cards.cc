// blockdev-add, blockdev-del, netdev_add, netdev_del, and device_add's part for disks and network cards.
#include "vmm/control/commands/cards.h"

#include <nlohmann/json.hpp>

#include "vmm/control/arguments.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/peripherals.h"
#include "vmm/control/qmp_error.h"
#include "vmm/control/vm_control.h"

namespace faultline {

using nlohmann::json;

IsThere DeviceIsThere(VmControl& vm) {
  return [&vm](const std::string& id) { return DriverOf(id, vm).has_value(); };
}

json BlockdevAdd(const json& arguments, VmControl& vm) {
  OptionValues values("blockdev-add", arguments.dump(), "driver");
  vm.cards().blocks.Add(&values);
  return json::object();
}

json BlockdevDel(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const std::string name = args.String("node-name");
  args.Finish();
  vm.cards().blocks.Delete(name, DeviceIsThere(vm));
  return json::object();
}

json NetdevAdd(const json& arguments, VmControl& vm) {
  OptionValues values("netdev_add", arguments.dump(), "type");
  vm.cards().nets.Add(&values, [&vm](const std::string& name) { return vm.descriptors().Take(name); });
  return json::object();
}

json NetdevDel(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const std::string id = args.String("id");
  args.Finish();
  vm.cards().nets.Delete(id, DeviceIsThere(vm));
  return json::object();
}

bool IsCard(const std::string& driver) { return driver == kDiskDriver || driver == kNetCardDriver; }

void AddCard(const json& arguments, VmControl& vm) {
  OptionValues device("device_add", arguments.dump(), "driver");
  const std::string driver = device.Need("driver");
  const std::string id = device.Need("id");
  if (DriverOf(id, vm)) throw QmpError("Duplicate device ID '" + id.substr(0, 80) + "'");
  device.Accept("disable-legacy", "on");
  device.Accept("disable-modern", "off");
  vm.PlugCard(vm.cards().Take(driver, &device, id, DeviceIsThere(vm)));
}

}  // namespace faultline
