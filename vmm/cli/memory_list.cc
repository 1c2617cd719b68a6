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
    const auto size = [](const json& device, const char* key) {
      return ReadableSize(Bytes(device.at(key).get<uint64_t>()));
    };
    std::vector<std::vector<std::string>> rows{{"ID", "SLOT", "ADDRESS", "SIZE", "IN USE", "BACKING", "STATE"}};
    for (const json& d : devices) {
      if (d.at("type") == "virtio-mem") {
        rows.push_back({d.at("id"), "-", Hex(d.at("addr").get<uint64_t>()), size(d, "size"), size(d, "present"),
                        d.at("backing"), size(d, "plugged") + " of " + size(d, "requested") + " plugged"});
        continue;
      }
      if (d.at("type") == "balloon") {
        rows.push_back({d.at("id"), "-", "-", size(d, "requested"), "-", "-", size(d, "held") + " held"});
        continue;
      }
      std::string state = d.at("unplugging").get<bool>() ? "unplugging" : "plugged";
      if (const auto pins = d.at("pins").get<unsigned>(); pins > 0) state += ", pinned";
      if (const auto guest = d.find("guest"); guest != d.end() && !guest->at("accepted").get<bool>()) {
        state += ", not taken by the guest: " + guest->at("text").get<std::string>();
      }
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
