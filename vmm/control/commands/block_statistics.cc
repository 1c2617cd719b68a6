// query-blockstats: what the guest had its disks do.
#include <algorithm>
#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "vmm/control/arguments.h"
#include "vmm/control/commands/cards.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/peripherals.h"
#include "vmm/control/vm_control.h"

namespace faultline {

using nlohmann::json;

namespace {

// BlockDeviceStats of QEMU's schema. Nothing is merged, and no intervals are kept.
json Statistics(const BlockCounters& counters) {
  json stats{{"wr_highest_offset", counters.written_end().value},
             {"account_invalid", true},
             {"account_failed", true},
             {"timed_stats", json::array()}};
  struct Name {
    BlockCounters::Kind kind;
    const char* text;
  };
  constexpr std::array kNames = {Name{BlockCounters::Kind::kRead, "rd"}, Name{BlockCounters::Kind::kWrite, "wr"},
                                 Name{BlockCounters::Kind::kFlush, "flush"},
                                 Name{BlockCounters::Kind::kUnmap, "unmap"}};
  for (const auto& [kind, text] : kNames) {
    const std::string name = text;
    const BlockCounters::Figures figures = counters.figures(kind);
    stats[name + "_operations"] = figures.operations;
    stats[name + "_total_time_ns"] = figures.took.count();
    stats["failed_" + name + "_operations"] = figures.failed;
    stats["invalid_" + name + "_operations"] = figures.invalid;
    if (kind == BlockCounters::Kind::kFlush) continue;
    stats[name + "_bytes"] = figures.moved.value;
    stats[name + "_merged"] = 0;
  }
  return stats;
}

// A node's own: the guest's requests are counted by its device.
json NodeStatistics(const std::string& node, const BlockCounters& counters) {
  BlockCounters own;
  own.NoteWritten(counters.written_end());
  return {{"node-name", node}, {"stats", Statistics(own)}};
}

}  // namespace

json QueryBlockstats(const json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const bool nodes = args.Bool("query-nodes", false);
  args.Finish();
  const std::vector<DiskConfig> disks = vm.Devices().disks;
  json list = json::array();
  for (const DiskNode& node : vm.cards().blocks.Disks(DeviceIsThere(vm))) {
    const auto disk = std::ranges::find_if(
        disks, [&](const DiskConfig& config) { return config.id == node.device && config.path == node.path; });
    // A disk that goes away at this moment.
    if (disk == disks.end() || disk->counters == nullptr) continue;
    json storage = NodeStatistics(node.storage_node, *disk->counters);
    json format = NodeStatistics(node.format_node, *disk->counters);
    if (nodes) {
      format["parent"] = storage;
      list.push_back(std::move(format));
      list.push_back(std::move(storage));
      continue;
    }
    list.push_back({{"device", ""},
                    {"qdev", PeripheralPath(node.device) + "/virtio-backend"},
                    {"node-name", node.format_node},
                    {"stats", Statistics(*disk->counters)},
                    {"parent", std::move(storage)}});
  }
  return list;
}

}  // namespace faultline
