// object-add, object-del, device_add, device_del, query-memory-devices, query-memory-size-summary: memory
// the way QEMU's clients plug it.
#include <nlohmann/json.hpp>

#include "vmm/control/arguments.h"
#include "vmm/control/commands/cards.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/commands/elastic.h"
#include "vmm/control/peripherals.h"
#include "vmm/control/qmp_error.h"
#include "vmm/control/vm_control.h"

namespace faultline {

using nlohmann::json;

namespace {

// `unsigned` of a slot number that came as 64 bits; what does not fit is out of any machine's range, and the
// machine says which range that is.
unsigned SlotNumber(uint64_t value) {
  return static_cast<unsigned>(std::min<uint64_t>(value, std::numeric_limits<unsigned>::max()));
}

}  // namespace

json ObjectAdd(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const std::string type = args.String("qom-type");
  const std::string id = args.String("id");
  BackingSpec backing;
  if (type == "memory-backend-ram") {
    backing.kind = BackingKind::kAnonymous;
  } else if (type == "memory-backend-memfd") {
    backing.kind = args.Bool("hugetlb", false) ? BackingKind::kHugetlb : BackingKind::kMemfd;
  } else if (type == "memory-backend-file") {
    backing.kind = BackingKind::kFile;
    backing.path = args.String("mem-path");
  } else {
    throw QmpError("Invalid parameter 'qom-type': '" + type +
                   "' is not one of memory-backend-ram, memory-backend-memfd, memory-backend-file");
  }
  const Bytes size(args.Unsigned("size"));
  // What these ask for is what we do anyway; the opposite would be a promise we cannot keep.
  if (args.Bool("prealloc", false)) throw QmpError("Memory is filled in as the guest touches it; leave 'prealloc' out");
  args.Bool("share", false);
  args.Finish();
  vm.backends().Add(id, backing, size);
  return json::object();
}

json ObjectDel(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const std::string id = args.String("id");
  args.Finish();
  vm.backends().Delete(id, Peripherals(vm));
  return json::object();
}

json DeviceAdd(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const std::string driver = args.String("driver");
  if (IsCard(driver)) {
    AddCard(arguments, vm);
    return json::object();
  }
  if (driver != "pc-dimm") {
    throw QmpError("'" + driver.substr(0, 80) +
                   "' is no device that can be plugged; pc-dimm, virtio-blk-pci and virtio-net-pci are");
  }
  const std::string memdev = args.String("memdev");
  PlugRequest request;
  request.id = args.String("id");
  if (const auto slot = args.OptionalUnsigned("slot")) request.slot = SlotNumber(*slot);
  // QEMU takes 0 for "choose one".
  if (const auto address = args.OptionalUnsigned("addr"); address && *address != 0) request.address = Gpa(*address);
  request.node = SlotNumber(args.OptionalUnsigned("node").value_or(0));
  args.Finish();

  const MemoryBackends::Backend& backend = vm.backends().Free(memdev, Peripherals(vm));
  if (DriverOf(request.id, vm)) throw QmpError("Duplicate device ID '" + request.id.substr(0, 80) + "'");
  request.size = backend.size;
  request.backing = backend.backing;
  vm.PlugMemory(request);
  vm.backends().SetDevice(memdev, request.id);
  return json::object();
}

json DeviceDel(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  UnplugRequest request;
  request.id = args.String("id");
  args.Finish();
  const auto driver = DriverOf(request.id, vm);
  if (!driver) throw QmpError("DeviceNotFound", "Device '" + request.id.substr(0, 80) + "' not found");
  if (IsCard(*driver)) {
    vm.UnplugCard(request.id);
    return json::object();
  }
  if (driver != "pc-dimm") throw QmpError("Device '" + request.id + "' stays while the VM runs: it is a " + *driver);
  vm.UnplugMemory(request);
  return json::object();
}

json QueryMemoryDevices(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  json list = json::array();
  for (const MemoryDeviceInfo& d : vm.MemoryDevices()) {
    list.push_back({{"type", "dimm"},
                    {"data",
                     {{"id", d.id},
                      {"addr", d.gpa.start.value},
                      {"size", d.gpa.size.value},
                      {"slot", d.slot},
                      {"node", d.node},
                      {"memdev", "/objects/" + vm.backends().OfDevice(d.id).value_or(d.id)},
                      {"hotpluggable", true},
                      {"hotplugged", d.hotplugged}}}});
  }
  AppendVirtioMemInfo(vm, &list);
  return list;
}

json QueryMemorySizeSummary(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  const MachineStatus status = vm.Status();
  return {{"base-memory", status.boot_memory.value}, {"plugged-memory", status.plugged_memory.value}};
}

}  // namespace faultline
