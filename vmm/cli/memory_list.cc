// `faultline memory list`
#include <nlohmann/json.hpp>

#include "guestmem/hex.h"
#include "vmm/cli/output.h"
#include "vmm/cli/quantity.h"
#include "vmm/cli/subcommand.h"
#include "vmm/cli/vm_connection.h"

namespace faultline {
namespace {

using nlohmann::json;

class MemoryList final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Flag("--json", &json_, "Answer in JSON: sizes in bytes");
    options.Footer("IN USE is what the guest has touched so far.\n\nExamples:\n  faultline memory list vm1");
  }

  int Run() override {
    const json devices = AskVm(vm_, "x-faultline-memory-devices", json::object());
    if (json_) {
      PrintJson(devices);
      return 0;
    }
    if (devices.empty()) {
      PrintRemark("VM '" + vm_ + "' has no plugged memory; `faultline memory plug " + vm_ + " 128M` adds some.");
      return 0;
    }
    std::vector<std::vector<std::string>> rows{{"ID", "SLOT", "ADDRESS", "SIZE", "IN USE", "BACKING", "STATE"}};
    for (const json& d : devices) {
      std::string state = d.at("unplugging").get<bool>() ? "unplugging" : "plugged";
      if (const auto pins = d.at("pins").get<unsigned>(); pins > 0) state += ", pinned";
      rows.push_back({d.at("id"), std::to_string(d.at("slot").get<unsigned>()), Hex(d.at("addr").get<uint64_t>()),
                      ReadableSize(Bytes(d.at("size").get<uint64_t>())),
                      ReadableSize(Bytes(d.at("present").get<uint64_t>())), d.at("backing"), state});
    }
    Print(Table(rows));
    return 0;
  }

 private:
  std::string vm_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Subcommand> MakeMemoryList() { return std::make_unique<MemoryList>(); }

}  // namespace faultline
