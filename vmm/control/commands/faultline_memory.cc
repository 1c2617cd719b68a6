// x-faultline-memory-plug, -unplug, -operations, -cancel, -map and -devices: what the command line's `memory` speaks.
#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "devices/memory_hotplug.h"
#include "vmm/control/arguments.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/commands/elastic.h"
#include "vmm/control/machine_events.h"
#include "vmm/control/qmp_error.h"
#include "vmm/control/vm_control.h"

namespace faultline {

using nlohmann::json;

namespace {

json Describe(const MemoryDeviceInfo& d) {
  json device{{"id", d.id},
              {"type", "dimm"},
              {"slot", d.slot},
              {"node", d.node},
              {"addr", d.gpa.start.value},
              {"size", d.gpa.size.value},
              {"backing", ToString(d.backing)},
              {"present", d.present.value},
              {"pins", d.pins},
              {"unplugging", d.unplugging}};
  if (d.insert_status) {
    device["guest"] = {{"accepted", *d.insert_status == ost::kSuccess},
                       {"ost-status", *d.insert_status},
                       {"text", ost::StatusText(ost::kDeviceCheck, *d.insert_status)}};
  }
  return device;
}

// "dimmN" for slot N, which is also what the built-in guest calls it; another N when that name is taken.
std::string DefaultId(const std::vector<MemoryDeviceInfo>& devices, std::optional<unsigned> slot) {
  const auto slot_taken = [&](unsigned n) {
    return std::ranges::find(devices, n, &MemoryDeviceInfo::slot) != devices.end();
  };
  const auto id_taken = [&](const std::string& id) {
    return std::ranges::find(devices, id, &MemoryDeviceInfo::id) != devices.end();
  };
  unsigned n = slot.value_or(0);
  while (!slot && slot_taken(n)) ++n;
  std::string id = "dimm" + std::to_string(n);
  for (n = 0; id_taken(id); ++n) id = "dimm" + std::to_string(n);
  return id;
}

}  // namespace

json FaultlineMemoryPlug(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  PlugRequest request;
  request.size = Bytes(args.Unsigned("size"));
  request.id = args.OptionalString("id").value_or("");
  if (const auto slot = args.OptionalUnsigned("slot")) {
    request.slot = static_cast<unsigned>(std::min<uint64_t>(*slot, std::numeric_limits<unsigned>::max()));
  }
  if (const auto node = args.OptionalUnsigned("node")) {
    request.node = static_cast<unsigned>(std::min<uint64_t>(*node, std::numeric_limits<unsigned>::max()));
  }
  if (const auto address = args.OptionalUnsigned("addr")) request.address = Gpa(*address);
  if (const auto backing = args.OptionalString("backing")) request.backing = ParseBackingSpec(*backing);
  args.Finish();
  if (request.id.empty()) request.id = DefaultId(vm.MemoryDevices(), request.slot);
  return Describe(vm.PlugMemory(request));
}

json FaultlineMemoryUnplug(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  UnplugRequest request;
  request.id = args.String("id");
  request.force = args.Bool("force", false);
  if (const auto ms = args.OptionalUnsigned("timeout-ms")) {
    constexpr uint64_t kLongest = 24ULL * 3600 * 1000;
    if (*ms > kLongest) throw UsageError("A timeout of " + std::to_string(*ms) + " ms is longer than a day");
    request.timeout = std::chrono::milliseconds(*ms);
  }
  args.Finish();
  return {{"operation", vm.UnplugMemory(request)}};
}

json FaultlineMemoryOperations(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  const auto ms = [](std::chrono::nanoseconds time) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  };
  json list = json::array();
  for (const UnplugOperationInfo& o : vm.MemoryOperations()) {
    json operation{{"operation", o.operation},
                   {"id", o.id},
                   {"slot", o.slot},
                   {"addr", o.gpa.start.value},
                   {"size", o.gpa.size.value},
                   {"forced", o.forced},
                   {"guest-initiated", o.guest_initiated},
                   {"stage", ToString(o.stage)},
                   {"age-ms", ms(o.age)}};
    if (o.time_left) operation["left-ms"] = ms(*o.time_left);
    if (o.result) operation["result"] = DescribeUnplug(*o.result);
    list.push_back(std::move(operation));
  }
  return list;
}

json FaultlineMemoryCancel(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const uint64_t operation = args.Unsigned("operation");
  args.Finish();
  vm.CancelUnplug(operation);
  return json::object();
}

json FaultlineMemoryMap(const json& arguments, VmControl& vm) {
  constexpr uint64_t kUsual = 64;
  constexpr uint64_t kMost = 4096;
  Arguments args(arguments);
  const uint64_t cells = args.OptionalUnsigned("cells").value_or(kUsual);
  args.Finish();
  if (cells == 0 || cells > kMost) throw QmpError("Parameter 'cells' expects a number from 1 to 4096");
  const auto numbers = [](const std::vector<Bytes>& sizes) {
    json list = json::array();
    for (const Bytes size : sizes) list.push_back(size.value);
    return list;
  };
  json list = json::array();
  for (const MemoryMapInfo& map : vm.MemoryMaps(cells)) {
    list.push_back({{"id", map.id},
                    {"addr", map.gpa.start.value},
                    {"size", map.gpa.size.value},
                    {"cell", map.residency.cell.value},
                    {"plugged", numbers(map.residency.plugged)},
                    {"present", numbers(map.residency.present)}});
  }
  return list;
}

json FaultlineMemoryDevices(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  json list = json::array();
  for (const MemoryDeviceInfo& d : vm.MemoryDevices()) list.push_back(Describe(d));
  AppendElasticDevices(vm, &list);
  return list;
}

}  // namespace faultline
