// migrate, migrate-incoming, migrate_cancel, query-migrate, their capabilities and parameters, closefd: a VM is saved
// through a descriptor, and restored from one.
//
// Source: QEMU's qapi/migration.json.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "vmm/control/arguments.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/qmp_error.h"
#include "vmm/control/vm_control.h"

namespace faultline {

using nlohmann::json;

namespace {

constexpr std::string_view kFd = "fd:";

std::string DescriptorOf(const std::string& uri) {
  if (!uri.starts_with(kFd)) {
    throw QmpError("'" + uri.substr(0, 64) + "' is not where a VM can be saved to or come from: give fd:NAME");
  }
  return uri.substr(kFd.size());
}

bool IsNumber(const std::string& name) { return !name.empty() && name[0] >= '0' && name[0] <= '9'; }

}  // namespace

json CloseFd(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const std::string name = args.String("fdname");
  args.Finish();
  vm.descriptors().Take(name);
  return json::object();
}

json Migrate(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const std::string name = DescriptorOf(args.String("uri"));
  args.Bool("detach", true);  // it always is
  for (const char* other : {"resume", "blk", "inc"}) {
    if (args.Bool(other, false)) throw QmpError("Parameter '" + std::string(other) + "' is not supported");
  }
  args.Finish();
  vm.Save(vm.descriptors().Take(name));
  return json::object();
}

json MigrateIncoming(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const std::string name = DescriptorOf(args.String("uri"));
  args.Finish();
  if (!vm.config().incoming) {
    throw QmpError("'-incoming' was not specified on the command line: start a VM that is to be restored with it");
  }
  vm.Restore(IsNumber(name) ? NamedDescriptors::TakeInherited(name) : vm.descriptors().Take(name));
  return json::object();
}

json MigrateCancel(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  vm.CancelMigration();
  return json::object();
}

json QueryMigrate(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  const MigrationInfo info = vm.MigrationState();
  if (info.status == MigrationStatus::kNone) return json::object();
  json answer{{"status", ToString(info.status)}};
  if (info.status == MigrationStatus::kFailed) answer["error-desc"] = info.error;
  if (info.restoring) return answer;
  answer["total-time"] = info.total_time.count();
  answer["setup-time"] = info.setup_time.count();
  // The guest stands still all the time.
  if (info.status == MigrationStatus::kCompleted) answer["downtime"] = info.total_time.count();
  const double seconds = static_cast<double>(std::max<int64_t>(info.total_time.count(), 1)) / 1000;
  const uint64_t pages = info.done / kPageSize;
  answer["ram"] = {{"total", info.total.value},
                   {"remaining", (info.total - std::min(info.done, info.total)).value},
                   {"transferred", info.transferred.value},
                   {"page-size", kPageSize.value},
                   {"normal", pages},
                   {"normal-bytes", info.done.value},
                   {"pages-per-second", static_cast<uint64_t>(static_cast<double>(pages) / seconds)},
                   {"mbps", static_cast<double>(info.transferred.value) * 8 / 1e6 / seconds},
                   {"dirty-sync-count", 1},
                   {"precopy-bytes", 0},
                   {"downtime-bytes", info.transferred.value}};
  for (const char* never : {"duplicate", "skipped", "dirty-pages-rate", "postcopy-requests", "postcopy-bytes",
                            "multifd-bytes", "dirty-sync-missed-zero-copy"}) {
    answer["ram"][never] = 0;
  }
  return answer;
}

json QueryMigrateParameters(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  return {{"max-bandwidth", vm.migration_rate().value}};
}

json MigrateSetParameters(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const auto rate = args.OptionalUnsigned("max-bandwidth");
  args.Finish();
  if (!rate) return json::object();
  if (*rate == 0 || *rate > VmControl::kNoLimit.value) {
    throw QmpError("Parameter 'max_bandwidth' expects an integer in the range of 1 to " +
                   std::to_string(VmControl::kNoLimit.value) + " bytes/second");
  }
  vm.set_migration_rate(Bytes(*rate));
  return json::object();
}

// MIGRATION events are the one capability there is.
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
