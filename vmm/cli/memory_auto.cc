// `faultline memory auto`
#include <cstdio>
#include <nlohmann/json.hpp>

#include "vmm/cli/output.h"
#include "vmm/cli/quantity.h"
#include "vmm/cli/subcommand.h"
#include "vmm/cli/vm_connection.h"
#include "vmm/machine/config.h"

namespace faultline {
namespace {

using nlohmann::json;

std::string Size(const json& report, const char* key) { return ReadableSize(Bytes(report.at(key).get<uint64_t>())); }

std::string Pressure(const json& report) {
  const json& percent = report.at("host-pressure");
  if (percent.is_null()) return "its kernel does not tell";
  char text[64];
  std::snprintf(text, sizeof text, "%.1f %% of the last 10 s", percent.get<double>());
  return std::string(text) + (report.at("pressed").get<bool>() ? ", pressed" : ", calm");
}

std::string Next(const json& report) {
  const bool stays = report.at("target") == report.at("requested");
  std::string text = stays                            ? "nothing"
                     : report.at("acted").get<bool>() ? "set it to " + Size(report, "target")
                     : report.contains("failure")     ? "tried to set it to " + Size(report, "target")
                                                      : "would set it to " + Size(report, "target");
  text += ": " + report.at("reason").get<std::string>();
  if (report.contains("failure")) text += "; " + report.at("failure").get<std::string>();
  return text;
}

class MemoryAuto final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Option("--set", "MODE", &mode_, "on, off, or dry-run: only tell what would be done");
    options.Flag("--json", &json_, "Answer in JSON: sizes in bytes, pressure in percent");
    options.Footer(
        "Keeps between 15 % and 50 % of the guest's memory to spare, and between 5 % and 20 % while the host is short\n"
        "of memory: from when tasks waited for memory in 10 % of the last ten seconds (/proc/pressure/memory) until "
        "it\n"
        "is less than 2 %. What is resized is the first virtio-mem device, or else the balloon, which leaves a "
        "quarter\n"
        "at least; the VM needs --balloon in any case, whose statistics tell what the guest has to spare. A resize by\n"
        "hand is overruled. Without --set this shows what the last look, every two seconds, has seen and decided.\n\n"
        "Examples:\n"
        "  faultline run --linux --memory 512M,auto --virtio-mem 4G\n"
        "  faultline memory auto vm1 --set dry-run\n"
        "  faultline memory auto vm1");
  }

  int Run() override {
    json arguments = json::object();
    if (mode_) arguments["mode"] = ToString(ParseAutoMemoryMode(*mode_));
    const json report = AskVm(vm_, "x-faultline-memory-auto", arguments);
    if (json_) {
      PrintJson(report);
      return 0;
    }
    const auto mode = report.at("mode").get<std::string>();
    std::vector<std::vector<std::string>> rows{{"Automatic:", mode}};
    if (report.contains("waiting-for")) {
      rows.push_back({"Waits for:", report.at("waiting-for").get<std::string>()});
    } else if (mode != "off") {
      rows.push_back({"Host:", Pressure(report)});
      rows.push_back({"Guest:", Size(report, "guest-available") + " to spare of " + Size(report, "guest-total")});
      rows.push_back({report.at("lever").get<std::string>() + ":", Size(report, "actual") + " of " +
                                                                       Size(report, "requested") + " requested, " +
                                                                       Size(report, "max") + " at most"});
      rows.push_back({"Last look:", Next(report)});
    }
    rows.push_back({"Changes:", std::to_string(report.at("changes").get<uint64_t>())});
    Print(Table(rows));
    return 0;
  }

 private:
  std::string vm_;
  std::optional<std::string> mode_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Subcommand> MakeMemoryAuto() { return std::make_unique<MemoryAuto>(); }

}  // namespace faultline
