// balloon, query-balloon, qom-set, x-faultline-memory-resize, x-faultline-balloon-trim: virtio-mem and the
// balloon.
#include "vmm/control/commands/elastic.h"

#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "vmm/control/arguments.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/peripherals.h"
#include "vmm/control/qmp_error.h"
#include "vmm/control/vm_control.h"

namespace faultline {

using nlohmann::json;

namespace {

constexpr uint64_t kLongestInterval = 24ULL * 3600;

// QEMU's names, by tag.
constexpr std::array<std::string_view, 10> kStatistics{
    "stat-swap-in",      "stat-swap-out",         "stat-major-faults", "stat-minor-faults", "stat-free-memory",
    "stat-total-memory", "stat-available-memory", "stat-disk-caches",  "stat-htlb-pgalloc", "stat-htlb-pgfail"};

Bytes BalloonBase(const VmControl& vm) {
  Bytes sum = vm.Status().boot_memory;
  for (const MemoryDeviceInfo& dimm : vm.MemoryDevices()) sum += dimm.gpa.size;
  return sum;
}

Balloon& RequireBalloon(VmControl& vm) {
  Balloon* const balloon = vm.balloon();
  if (balloon == nullptr) throw QmpError("DeviceNotActive", "No balloon device has been activated");
  return *balloon;
}

bool IsBalloon(std::string_view id, const VmControl& vm) {
  return vm.config().balloon.has_value() && vm.config().balloon->id == id;
}

std::optional<VirtioMemInfo> FindVirtioMem(const std::string& id, const VmControl& vm) {
  for (VirtioMemInfo& mem : vm.VirtioMemDevices()) {
    if (mem.id == id) return std::move(mem);
  }
  return std::nullopt;
}

json GuestStatistics(const Balloon& balloon) {
  const BalloonStatistics statistics = balloon.statistics();
  json values;
  for (size_t tag = 0; tag < kStatistics.size(); ++tag) {
    values[std::string(kStatistics[tag])] = statistics.values[tag].value_or(std::numeric_limits<uint64_t>::max());
  }
  const auto updated = std::chrono::duration_cast<std::chrono::seconds>(statistics.updated.time_since_epoch()).count();
  return {{"stats", values}, {"last-update", updated}};
}

json Describe(const VirtioMemInfo& mem) {
  json device{{"id", mem.id},
              {"type", "virtio-mem"},
              {"addr", mem.region.start.value},
              {"size", mem.region.size.value},
              {"block", mem.block.value},
              {"requested", mem.state.requested.value},
              {"plugged", mem.state.plugged.value},
              {"present", mem.present.value},
              {"backing", ToString(mem.backing)},
              {"driver", mem.state.driver},
              {"failures", mem.state.failures}};
  if (!mem.state.last_failure.empty()) device["last-failure"] = mem.state.last_failure;
  return device;
}

}  // namespace

void AppendElasticDevices(VmControl& vm, json* list) {
  for (const VirtioMemInfo& mem : vm.VirtioMemDevices()) list->push_back(Describe(mem));
  const Balloon* const balloon = vm.balloon();
  if (balloon == nullptr || !vm.config().balloon) return;
  const BalloonState state = balloon->state();
  list->push_back({{"id", vm.config().balloon->id},
                   {"type", "balloon"},
                   {"requested", state.target.value},
                   {"held", state.held.value},
                   {"returned", state.returned.value},
                   {"reported", state.reported.value},
                   {"host-calls", state.host_calls},
                   {"driver", state.driver}});
}

void AppendVirtioMemInfo(VmControl& vm, json* list) {
  for (const VirtioMemInfo& mem : vm.VirtioMemDevices()) {
    list->push_back({{"type", "virtio-mem"},
                     {"data",
                      {{"id", mem.id},
                       {"memaddr", mem.region.start.value},
                       {"requested-size", mem.state.requested.value},
                       {"size", mem.state.plugged.value},
                       {"max-size", mem.region.size.value},
                       {"block-size", mem.block.value},
                       {"node", 0},
                       {"memdev", "/objects/" + vm.backends().OfDevice(mem.id).value_or(mem.id)}}}});
  }
}

json BalloonTo(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const Bytes target(args.Unsigned("value"));
  args.Finish();
  Balloon& balloon = RequireBalloon(vm);
  if (target == Bytes(0)) throw QmpError("Parameter 'target' expects a size");
  const Bytes base = BalloonBase(vm);
  balloon.SetTarget(base - std::min(target, base));
  return json::object();
}

json QueryBalloon(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  const Bytes base = BalloonBase(vm);
  return {{"actual", (base - std::min(RequireBalloon(vm).state().held, base)).value}};
}

std::optional<json> ElasticProperty(const std::string& id, const std::string& property, VmControl& vm) {
  if (IsBalloon(id, vm)) {
    const Balloon& balloon = RequireBalloon(vm);
    if (property == "guest-stats") return GuestStatistics(balloon);
    if (property == "guest-stats-polling-interval") return balloon.statistics_interval().count();
    if (property == "deflate-on-oom") return vm.config().balloon->deflate_on_oom;
    if (property == "free-page-reporting") return vm.config().balloon->reporting;
    return std::nullopt;
  }
  const auto mem = FindVirtioMem(id, vm);
  if (!mem) return std::nullopt;
  if (property == "requested-size") return mem->state.requested.value;
  if (property == "size") return mem->state.plugged.value;
  if (property == "block-size") return mem->block.value;
  if (property == "memaddr") return mem->region.start.value;
  if (property == "node") return 0;
  return std::nullopt;
}

json QomSet(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const std::string path = args.String("path");
  const std::string property = args.String("property");
  const uint64_t value = args.Unsigned("value");
  args.Finish();
  const std::string id(PeripheralId(path));
  const auto driver = DriverOf(id, vm);
  if (!driver) throw QmpError("DeviceNotFound", "Device '" + path.substr(0, 80) + "' not found");
  if (IsBalloon(id, vm) && property == "guest-stats-polling-interval") {
    if (value > kLongestInterval) throw QmpError("An interval of " + std::to_string(value) + " s is longer than a day");
    RequireBalloon(vm).SetStatisticsInterval(std::chrono::seconds(value));
  } else if (FindVirtioMem(id, vm) && property == "requested-size") {
    vm.ResizeVirtioMem(id, Bytes(value));
  } else {
    throw QmpError("Property '" + *driver + "." + property.substr(0, 80) + "' cannot be set");
  }
  return json::object();
}

json FaultlineMemoryResize(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const auto id = args.OptionalString("id");
  const Bytes size(args.Unsigned("size"));
  args.Finish();
  const std::vector<VirtioMemInfo> mems = vm.VirtioMemDevices();
  if (mems.empty()) {
    throw UsageError("the VM has no memory that can be resized: start it with --virtio-mem SIZE");
  }
  if (!id && mems.size() > 1) throw UsageError("the VM has several virtio-mem devices: say which one with --id");
  const std::string device = id.value_or(mems.front().id);
  vm.ResizeVirtioMem(device, size);
  return {{"id", device}};
}

json FaultlineBalloonTrim(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  Balloon& balloon = RequireBalloon(vm);
  if (!balloon.StartHinting()) {
    throw Error(balloon.state().hinting ? "the guest is being trimmed already: wait for it"
                                        : "the guest's balloon driver does not tell of free pages: it is not running, "
                                          "or has no free page hinting");
  }
  return json::object();
}

}  // namespace faultline
