// `faultline memory operations` and `memory cancel`
#include <nlohmann/json.hpp>

#include "vmm/cli/output.h"
#include "vmm/cli/quantity.h"
#include "vmm/cli/subcommand.h"
#include "vmm/cli/vm_connection.h"

namespace faultline {
namespace {

using nlohmann::json;

std::string Time(const json& ms) { return ReadableDuration(std::chrono::milliseconds(ms.get<int64_t>())); }

class MemoryOperations final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Flag("--json", &json_, "Answer in JSON: bytes, ms");
    options.Footer(
        "Unplugs that are under way, and the last 16 that ended. STAGE is how far one has come: queued, asked (the\n"
        "guest has not looked), noticed, emptying (the guest said so), removing (the host takes the memory back).\n\n"
        "Examples:\n  faultline memory operations vm1");
  }

  int Run() override {
    const json operations = AskVm(vm_, "x-faultline-memory-operations", json::object());
    if (json_) {
      PrintJson(operations);
      return 0;
    }
    if (operations.empty()) {
      PrintRemark("No memory of VM '" + vm_ + "' has been unplugged or is being unplugged.");
      return 0;
    }
    std::vector<std::vector<std::string>> rows{{"OPERATION", "ID", "SIZE", "STAGE", "AGE", "LEFT", "OUTCOME"}};
    for (const json& o : operations) {
      std::string outcome = "-";
      if (o.contains("result")) {
        const json& result = o.at("result");
        outcome = result.at("outcome");
        if (const std::string reason = result.at("reason"); !reason.empty()) outcome += ": " + reason;
      }
      rows.push_back({std::to_string(o.at("operation").get<uint64_t>()), o.at("id"),
                      ReadableSize(Bytes(o.at("size").get<uint64_t>())), o.at("stage"), Time(o.at("age-ms")),
                      o.contains("left-ms") ? Time(o.at("left-ms")) : "-", outcome});
    }
    Print(Table(rows));
    return 0;
  }

 private:
  std::string vm_;
  bool json_ = false;
};

class MemoryCancel final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Required("OPERATION", &operation_, "Its number (see `faultline memory operations`)");
    options.Flag("--json", &json_, "Answer in JSON");
    options.Footer(
        "The memory stays plugged. A guest that gives it up all the same, later, gets it back.\n\n"
        "Examples:\n  faultline memory cancel vm1 3");
  }

  int Run() override {
    const uint64_t operation = ParseCount("OPERATION", operation_, 1, INT64_MAX);
    AskVm(vm_, "x-faultline-memory-cancel", {{"operation", operation}});
    if (json_) {
      PrintJson({{"operation", operation}});
    } else {
      Print("Withdrew operation " + operation_ + "\n");
    }
    return 0;
  }

 private:
  std::string vm_;
  std::string operation_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Subcommand> MakeMemoryOperations() { return std::make_unique<MemoryOperations>(); }
std::unique_ptr<Subcommand> MakeMemoryCancel() { return std::make_unique<MemoryCancel>(); }

}  // namespace faultline
