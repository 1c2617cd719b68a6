#include "vmm/cli/top_sample.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "vmm/control/qmp_client.h"
#include "vmm/control/runtime_dir.h"
#include "vmm/control/vm_lease.h"

namespace faultline {
namespace {

using nlohmann::json;

// A VM that hangs must not make the others wait long to be shown.
constexpr std::chrono::seconds kPatience{2};

Bytes Size(const json& value) { return Bytes(value.get<uint64_t>()); }

std::vector<Bytes> Sizes(const json& list) {
  std::vector<Bytes> sizes;
  for (const json& value : list) sizes.push_back(Size(value));
  return sizes;
}

json Numbers(const std::vector<Bytes>& sizes) {
  json list = json::array();
  for (const Bytes size : sizes) list.push_back(size.value);
  return list;
}

void TakeInfo(const json& info, VmSample* sample) {
  const json& memory = info.at("memory");
  const json& faults = info.at("faults");
  const json& latency = faults.at("latency-ns");
  sample->status = info.at("status");
  sample->cpus = info.at("cpus");
  sample->uptime = std::chrono::milliseconds(info.at("uptime-ms").get<int64_t>());
  sample->plugged = Size(memory.at("boot")) + Size(memory.at("plugged"));
  sample->present = Size(memory.at("present"));
  sample->charged = Size(info.at("host").at("resident"));
  sample->faults = faults.at("faults");
  sample->pages = faults.at("pages");
  sample->p50 = std::chrono::nanoseconds(latency.at("p50").get<int64_t>());
  sample->p99 = std::chrono::nanoseconds(latency.at("p99").get<int64_t>());
}

// False when it ended meanwhile.
bool Ask(const RunningVm& vm, size_t cells, VmSample* sample) {
  const auto deadline = QmpClient::Clock::now() + kPatience;
  try {
    QmpClient client(vm.socket_path, vm.name, deadline);
    const json info = client.Execute("x-faultline-info", json::object(), deadline);
    const json maps = client.Execute("x-faultline-memory-map", {{"cells", cells}}, deadline);
    TakeInfo(info, sample);
    for (const json& map : maps) {
      sample->maps.push_back({map.at("id"), Gpa(map.at("addr").get<uint64_t>()), Size(map.at("size")),
                              Size(map.at("cell")), Sizes(map.at("plugged")), Sizes(map.at("present"))});
    }
    sample->answered = true;
  } catch (const VmGone&) {
    return false;
  } catch (const Error&) {
    sample->status = "not answering";
  }
  return true;
}

}  // namespace

std::vector<VmSample> SampleVms(size_t cells) {
  std::vector<VmSample> samples;
  for (const RunningVm& vm : RunningVms(RuntimeDirectory())) {
    VmSample sample;
    sample.name = vm.name;
    sample.pid = vm.pid;
    if (Ask(vm, cells, &sample)) samples.push_back(std::move(sample));
  }
  return samples;
}

void AddRates(const std::vector<VmSample>& earlier, std::vector<VmSample>* samples) {
  for (VmSample& now : *samples) {
    const auto then =
        std::ranges::find_if(earlier, [&](const VmSample& s) { return s.name == now.name && s.pid == now.pid; });
    if (then == earlier.end() || !then->answered || !now.answered || now.uptime <= then->uptime) continue;
    // A machine that was reset counts anew.
    if (now.faults < then->faults || now.pages < then->pages) continue;
    const double seconds = std::chrono::duration<double>(now.uptime - then->uptime).count();
    now.rates = VmSample::Rates{static_cast<double>(now.faults - then->faults) / seconds,
                                static_cast<double>(now.pages - then->pages) / seconds};
  }
}

json ToJson(const VmSample& sample) {
  json vm{{"name", sample.name}, {"pid", sample.pid}, {"status", sample.status}};
  if (!sample.answered) return vm;
  vm["cpus"] = sample.cpus;
  vm["uptime-ms"] = sample.uptime.count();
  vm["plugged"] = sample.plugged.value;
  vm["present"] = sample.present.value;
  vm["charged"] = sample.charged.value;
  vm["faults"] = sample.faults;
  vm["pages"] = sample.pages;
  vm["latency-ns"] = {{"p50", sample.p50.count()}, {"p99", sample.p99.count()}};
  if (sample.rates) {
    vm["faults-per-second"] = sample.rates->faults;
    vm["pages-per-second"] = sample.rates->pages;
  }
  vm["maps"] = json::array();
  for (const VmSample::Map& map : sample.maps) {
    vm["maps"].push_back({{"id", map.id},
                          {"addr", map.start.value},
                          {"size", map.size.value},
                          {"cell", map.cell.value},
                          {"plugged", Numbers(map.plugged)},
                          {"present", Numbers(map.present)}});
  }
  return vm;
}

}  // namespace faultline
