// `faultline list`
#include <nlohmann/json.hpp>

#include "vmm/cli/output.h"
#include "vmm/cli/quantity.h"
#include "vmm/cli/subcommand.h"
#include "vmm/control/qmp_client.h"
#include "vmm/control/runtime_dir.h"
#include "vmm/control/vm_lease.h"

namespace faultline {
namespace {

using nlohmann::json;

// A VM that hangs must not make the others wait long to be shown.
constexpr std::chrono::milliseconds kPatience{500};

json Ask(const RunningVm& vm) {
  const auto deadline = QmpClient::Clock::now() + kPatience;
  try {
    return QmpClient(vm.socket_path, vm.name, deadline).Execute("x-faultline-info", json::object(), deadline);
  } catch (const VmGone&) {
    return nullptr;
  } catch (const Error&) {
    return {{"name", vm.name}, {"pid", vm.pid}, {"status", "not answering"}};
  }
}

class List final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Flag("--json", &json_, "Answer in JSON: an array with the `info` of each VM");
    options.Footer("Examples:\n  faultline list\n  faultline list --json | jq -r '.[].name'");
  }

  int Run() override {
    json all = json::array();
    for (const RunningVm& vm : RunningVms(RuntimeDirectory())) {
      if (json info = Ask(vm); !info.is_null()) all.push_back(std::move(info));
    }
    if (json_) {
      PrintJson(all);
      return 0;
    }
    if (all.empty()) {
      PrintRemark("No VM is running; `faultline run` starts one.");
      return 0;
    }
    std::vector<std::vector<std::string>> rows{
        {"NAME", "PID", "STATUS", "CPUS", "MEMORY", "PLUGGED", "MAX", "CONSOLE"}};
    for (const json& vm : all) {
      std::vector<std::string> row{vm.at("name"), std::to_string(vm.at("pid").get<int64_t>()), vm.at("status")};
      if (const auto memory = vm.find("memory"); memory != vm.end()) {
        row.push_back(std::to_string(vm.at("cpus").get<unsigned>()));
        for (const char* key : {"boot", "plugged", "max"}) {
          const Bytes size(memory->at(key).get<uint64_t>());
          row.push_back(size.value == 0 ? "-" : ReadableSize(size));
        }
        row.push_back(vm.at("console"));
      }
      rows.push_back(std::move(row));
    }
    Print(Table(rows));
    return 0;
  }

 private:
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Subcommand> MakeList() { return std::make_unique<List>(); }

}  // namespace faultline
