// The handlers of all QMP commands, one function each; which name calls which is in command_table.cc.
//
// Contract as for CommandHandler. Those without a comment do what QEMU's command of that name does.
// Source: QEMU docs/interop/qemu-qmp-ref.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace faultline {

class VmControl;

nlohmann::json QueryCommands(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryVersion(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryName(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryKvm(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryStatus(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryCpusFast(const nlohmann::json& arguments, VmControl& vm);

nlohmann::json Stop(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json Cont(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json SystemPowerdown(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json SystemReset(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json Quit(const nlohmann::json& arguments, VmControl& vm);

// memory-backend-ram, -memfd and -file.
nlohmann::json ObjectAdd(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json ObjectDel(const nlohmann::json& arguments, VmControl& vm);
// pc-dimm, virtio-blk-pci, virtio-net-pci.
nlohmann::json DeviceAdd(const nlohmann::json& arguments, VmControl& vm);
// Asks the guest, for as long as it takes; DEVICE_DELETED or DEVICE_UNPLUG_GUEST_ERROR tells.
nlohmann::json DeviceDel(const nlohmann::json& arguments, VmControl& vm);
// What is behind a disk or a network card, before it is plugged and after it is unplugged. Disks: file and raw.
// Networks: user and tap, the latter by ifname or by fd, a name given with getfd.
nlohmann::json BlockdevAdd(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json BlockdevDel(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json NetdevAdd(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json NetdevDel(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryMemoryDevices(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryMemorySizeSummary(const nlohmann::json& arguments, VmControl& vm);

nlohmann::json BalloonTo(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryBalloon(const nlohmann::json& arguments, VmControl& vm);
// Of any device: type, realized. Of the balloon: guest-stats-polling-interval, and for qom-get also guest-stats,
// deflate-on-oom, free-page-reporting. Of a virtio-mem device: requested-size, and for qom-get also size, block-size,
// memaddr, node. `path` is the device's id, or /machine/peripheral/ID.
nlohmann::json QomGet(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QomSet(const nlohmann::json& arguments, VmControl& vm);

// What a management tool asks before it starts anything.
nlohmann::json DeviceListProperties(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QomListProperties(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QomListTypes(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryCommandLineOptions(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryCpuDefinitions(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryCpuModelExpansion(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryMachines(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryQmpSchema(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryTarget(const nlohmann::json& arguments, VmControl& vm);

// Of a VM that stands still meanwhile, to fd:NAME and from it. MIGRATION events tell how it goes.
nlohmann::json Migrate(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json MigrateIncoming(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json MigrateCancel(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryMigrate(const nlohmann::json& arguments, VmControl& vm);
// max-bandwidth, in bytes a second; without a limit until it is set.
nlohmann::json QueryMigrateParameters(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json MigrateSetParameters(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryMigrateCapabilities(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json MigrateSetCapabilities(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json CloseFd(const nlohmann::json& arguments, VmControl& vm);

nlohmann::json QomList(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryBlock(const nlohmann::json& arguments, VmControl& vm);
// What each disk has done since it came. With query-nodes a list of the nodes, which count nothing by themselves but
// how far back they were written; without, of the disks.
nlohmann::json QueryBlockstats(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryChardev(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryJobs(const nlohmann::json& arguments, VmControl& vm);
nlohmann::json QueryNamedBlockNodes(const nlohmann::json& arguments, VmControl& vm);

// All there is to know about the VM, in one object.
nlohmann::json FaultlineInfo(const nlohmann::json& arguments, VmControl& vm);
// {size, id?, slot?, node?, addr?, backing?}: object-add and device_add in one, all or nothing; without an id it
// takes dimmN for slot N. Returns the device as FaultlineMemoryDevices shows it.
nlohmann::json FaultlineMemoryPlug(const nlohmann::json& arguments, VmControl& vm);
// {id, force?, timeout-ms?}: returns {operation} once the request is valid; X_FAULTLINE_MEMORY_UNPLUG tells the
// outcome.
nlohmann::json FaultlineMemoryUnplug(const nlohmann::json& arguments, VmControl& vm);
// The unplugs under way, oldest first, and before them the last that ended, with their `result`.
nlohmann::json FaultlineMemoryOperations(const nlohmann::json& arguments, VmControl& vm);
// {operation}: withdraws a request that waits for the guest.
nlohmann::json FaultlineMemoryCancel(const nlohmann::json& arguments, VmControl& vm);
// {size, id?}: as qom-set of requested-size; without an id, of the only virtio-mem device. Returns {id}.
nlohmann::json FaultlineMemoryResize(const nlohmann::json& arguments, VmControl& vm);
// {mode?}: sets how memory is resized automatically, "on", "dry-run" or "off", and returns AutoMemory::Report.
nlohmann::json FaultlineMemoryAuto(const nlohmann::json& arguments, VmControl& vm);
// Starts a round of free page hinting.
nlohmann::json FaultlineBalloonTrim(const nlohmann::json& arguments, VmControl& vm);
// {cells?}: for each place of memory how much of each stretch of it is plugged and present; 64 stretches at most, or
// `cells`, up to 4096.
nlohmann::json FaultlineMemoryMap(const nlohmann::json& arguments, VmControl& vm);
// The plugged devices, virtio-mem devices and the balloon, with what is in use of each.
nlohmann::json FaultlineMemoryDevices(const nlohmann::json& arguments, VmControl& vm);
// {xml}: the VM as libvirt's domain XML, with what is plugged and asked of it now.
nlohmann::json FaultlineXml(const nlohmann::json& arguments, VmControl& vm);

}  // namespace faultline
