// x-faultline-info: the state of the VM in one object.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "vmm/control/arguments.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/vm_control.h"

namespace faultline {

using nlohmann::json;

namespace {

// Of this process, bytes; 0 when /proc does not tell.
uint64_t ResidentBytes() {
  std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen("/proc/self/statm", "re"), std::fclose);
  unsigned long total = 0;
  unsigned long resident = 0;
  if (!file || std::fscanf(file.get(), "%lu %lu", &total, &resident) != 2) return 0;
  return resident * kPageSize.value;
}

json Faults(const MachineStatus& status, const VmControl& vm) {
  auto latency = std::make_unique<LatencyHistogram>();  // too large for a stack
  vm.MergeFaultLatency(*latency);
  const FaultTotals& f = status.faults;
  return {{"faults", f.faults},
          {"writes", f.writes},
          {"pages", f.pages},
          {"spurious", f.spurious},
          {"pending", f.pending},
          {"retries", f.retries},
          {"dead-bails", f.dead_bails},
          {"revoked", f.revoked},
          {"source-errors", f.source_errors},
          {"host-errors", f.host_errors},
          {"latency-ns",
           {{"p50", latency->Quantile(0.5)},
            {"p99", latency->Quantile(0.99)},
            {"p999", latency->Quantile(0.999)},
            {"max", latency->Quantile(1.0)}}}};
}

json Figures(const BlockCounters::Figures& figures) {
  return {{"operations", figures.operations},
          {"bytes", figures.moved.value},
          {"time-ns", figures.took.count()},
          {"failed", figures.failed},
          {"invalid", figures.invalid}};
}

json Disks(const VmControl& vm) {
  json disks = json::array();
  for (const DiskConfig& disk : vm.Devices().disks) {
    if (disk.counters == nullptr) continue;
    disks.push_back({{"id", disk.id},
                     {"path", disk.path},
                     {"read-only", disk.read_only},
                     {"reads", Figures(disk.counters->figures(BlockCounters::Kind::kRead))},
                     {"writes", Figures(disk.counters->figures(BlockCounters::Kind::kWrite))},
                     {"flushes", Figures(disk.counters->figures(BlockCounters::Kind::kFlush))},
                     {"discards", Figures(disk.counters->figures(BlockCounters::Kind::kUnmap))}});
  }
  return disks;
}

}  // namespace

json FaultlineInfo(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  const MachineStatus status = vm.Status();
  const MachineConfig& config = vm.config();
  const auto uptime = std::chrono::steady_clock::now() - vm.surroundings().started;
  json info{
      {"name", config.name},
      {"pid", getpid()},
      {"status", ToString(status.state)},
      {"cpus", config.cpus},
      {"console", vm.surroundings().console},
      {"uptime-ms", std::chrono::duration_cast<std::chrono::milliseconds>(uptime).count()},
      {"on-unplugged-access", ToString(config.on_unplugged_access)},
      {"unplugged-accesses", status.unplugged_accesses},
      {"memory",
       {{"boot", status.boot_memory.value},
        {"plugged", status.plugged_memory.value},
        {"max", status.max_memory.value},
        {"slots", status.slots},
        {"slots-used", status.slots_used},
        {"present", status.present_memory.value},
        {"backing", ToString(config.memory.backing)}}},
      {"kvm", {{"memslots", status.memslots}, {"memslot-bytes", status.memslot_bytes.value}}},
      {"host", {{"resident", ResidentBytes()}}},
      {"faults", Faults(status, vm)},
      {"tables",
       {{"allocated", status.tables.allocated},
        {"recycled", status.tables.recycled},
        {"freed", status.tables.freed},
        {"live", status.tables.live},
        {"limbo", status.tables.limbo}}},
  };
  if (status.pause_reason) info["pause-reason"] = ToString(*status.pause_reason);
  info["assists"] = json::object();
  for (const auto& [what, count] : status.assists) info["assists"][std::string(what)] = count;
  info["disks"] = Disks(vm);
  info["vcpus"] = json::array();
  for (const VcpuInfo& cpu : status.vcpus)
    info["vcpus"].push_back({{"index", cpu.index}, {"thread-id", cpu.thread_id}});
  return info;
}

}  // namespace faultline
