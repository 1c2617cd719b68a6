#include "vmm/control/command_table.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>

#include "vmm/control/commands/commands.h"
#include "vmm/control/qmp_error.h"

namespace faultline {
namespace {

constexpr std::array kCommands{
    Command{"balloon", BalloonTo},
    Command{"blockdev-add", BlockdevAdd},
    Command{"blockdev-del", BlockdevDel},
    Command{"closefd", CloseFd},
    Command{"cont", Cont},
    Command{"device-list-properties", DeviceListProperties},
    Command{"device_add", DeviceAdd},
    Command{"device_del", DeviceDel},
    Command{"migrate", Migrate},
    Command{"migrate-incoming", MigrateIncoming},
    Command{"migrate-set-capabilities", MigrateSetCapabilities},
    Command{"migrate-set-parameters", MigrateSetParameters},
    Command{"migrate_cancel", MigrateCancel},
    Command{"netdev_add", NetdevAdd},
    Command{"netdev_del", NetdevDel},
    Command{"object-add", ObjectAdd},
    Command{"object-del", ObjectDel},
    Command{"qom-get", QomGet},
    Command{"qom-list", QomList},
    Command{"qom-list-properties", QomListProperties},
    Command{"qom-list-types", QomListTypes},
    Command{"qom-set", QomSet},
    Command{"query-balloon", QueryBalloon},
    Command{"query-block", QueryBlock},
    Command{"query-blockstats", QueryBlockstats},
    Command{"query-chardev", QueryChardev},
    Command{"query-command-line-options", QueryCommandLineOptions},
    Command{"query-commands", QueryCommands},
    Command{"query-cpu-definitions", QueryCpuDefinitions},
    Command{"query-cpu-model-expansion", QueryCpuModelExpansion},
    Command{"query-cpus-fast", QueryCpusFast},
    Command{"query-jobs", QueryJobs},
    Command{"query-kvm", QueryKvm},
    Command{"query-machines", QueryMachines},
    Command{"query-memory-devices", QueryMemoryDevices},
    Command{"query-memory-size-summary", QueryMemorySizeSummary},
    Command{"query-migrate", QueryMigrate},
    Command{"query-migrate-capabilities", QueryMigrateCapabilities},
    Command{"query-migrate-parameters", QueryMigrateParameters},
    Command{"query-name", QueryName},
    Command{"query-named-block-nodes", QueryNamedBlockNodes},
    Command{"query-qmp-schema", QueryQmpSchema},
    Command{"query-status", QueryStatus},
    Command{"query-target", QueryTarget},
    Command{"query-version", QueryVersion},
    Command{"quit", Quit},
    Command{"stop", Stop},
    Command{"system_powerdown", SystemPowerdown},
    Command{"system_reset", SystemReset},
    Command{"x-faultline-balloon-trim", FaultlineBalloonTrim},
    Command{"x-faultline-info", FaultlineInfo},
    Command{"x-faultline-memory-auto", FaultlineMemoryAuto},
    Command{"x-faultline-memory-cancel", FaultlineMemoryCancel},
    Command{"x-faultline-memory-devices", FaultlineMemoryDevices},
    Command{"x-faultline-memory-map", FaultlineMemoryMap},
    Command{"x-faultline-memory-operations", FaultlineMemoryOperations},
    Command{"x-faultline-memory-plug", FaultlineMemoryPlug},
    Command{"x-faultline-memory-resize", FaultlineMemoryResize},
    Command{"x-faultline-memory-unplug", FaultlineMemoryUnplug},
    Command{"x-faultline-xml", FaultlineXml},
};
static_assert(std::ranges::is_sorted(kCommands, {}, &Command::name));

}  // namespace

std::span<const Command> QmpCommands() { return kCommands; }

nlohmann::json RunCommand(std::string_view name, const nlohmann::json& arguments, VmControl& vm) {
  const auto it = std::ranges::lower_bound(kCommands, name, {}, &Command::name);
  if (it == kCommands.end() || it->name != name) {
    // The name is the client's, of any length.
    throw QmpError("CommandNotFound", "The command " + std::string(name.substr(0, 64)) + " has not been found");
  }
  return it->handler(arguments, vm);
}

}  // namespace faultline
