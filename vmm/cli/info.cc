// `faultline info`
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "vmm/cli/output.h"
#include "vmm/cli/quantity.h"
#include "vmm/cli/subcommand.h"
#include "vmm/cli/vm_connection.h"

namespace faultline {
namespace {

using nlohmann::json;

std::string Size(const json& value) { return ReadableSize(Bytes(value.get<uint64_t>())); }
std::string Number(const json& value) { return std::to_string(value.get<uint64_t>()); }
std::string Time(const json& ns) { return ReadableDuration(std::chrono::nanoseconds(ns.get<int64_t>())); }

std::string Assists(const json& assists) {
  std::string text;
  for (const auto& [what, count] : assists.items()) text += (text.empty() ? "" : ", ") + Number(count) + " " + what;
  return text.empty() ? "none" : text;
}

std::string Disk(const json& disk) {
  const auto moved = [](const json& figures) {
    return Number(figures.at("operations")) + " (" + Size(figures.at("bytes")) + ")";
  };
  uint64_t failed = 0;
  for (const char* kind : {"reads", "writes", "flushes", "discards"}) {
    failed += disk.at(kind).at("failed").get<uint64_t>() + disk.at(kind).at("invalid").get<uint64_t>();
  }
  return disk.at("path").get<std::string>() + (disk.at("read-only").get<bool>() ? ", read-only: " : ": ") +
         moved(disk.at("reads")) + " reads, " + moved(disk.at("writes")) + " writes, " +
         Number(disk.at("flushes").at("operations")) + " flushes, " + std::to_string(failed) + " failed";
}

class Info final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Flag("--json", &json_, "Answer in JSON: sizes in bytes, times in ns");
    options.Footer("Examples:\n  faultline info vm1\n  faultline info vm1 --json | jq .faults");
  }

  int Run() override {
    const json info = AskVm(vm_, "x-faultline-info", json::object());
    if (json_) {
      PrintJson(info);
      return 0;
    }
    const json& memory = info.at("memory");
    const json& faults = info.at("faults");
    const json& latency = faults.at("latency-ns");
    const json& tables = info.at("tables");
    std::string status = info.at("status");
    if (info.contains("pause-reason")) status += " (" + info.at("pause-reason").get<std::string>() + ")";
    const std::string slots = Number(memory.at("slots-used")) + " of " + Number(memory.at("slots")) + " slots";
    // Faults that the monitor brought upon itself while it loaded the guest have no latency to speak of.
    const std::string latency_text = latency.at("max").get<uint64_t>() == 0
                                         ? ""
                                         : "; p50 " + Time(latency.at("p50")) + ", p99 " + Time(latency.at("p99")) +
                                               ", max " + Time(latency.at("max"));
    std::vector<std::vector<std::string>> rows = {
        {"name", info.at("name")},
        {"status", status},
        {"pid", Number(info.at("pid"))},
        {"up", ReadableDuration(std::chrono::milliseconds(info.at("uptime-ms").get<int64_t>()))},
        {"console", info.at("console")},
        {"cpus", Number(info.at("cpus"))},
        {"memory", Size(memory.at("boot")) + " at boot, " + Size(memory.at("plugged")) + " plugged in " + slots +
                       ", at most " + Size(memory.at("max")) + ", " + memory.at("backing").get<std::string>()},
        {"in use", Size(memory.at("present")) + " faulted in; the process has " + Size(info.at("host").at("resident")) +
                       " resident"},
        {"faults", Number(faults.at("faults")) + " (" + Number(faults.at("pages")) + " pages), " +
                       Number(faults.at("retries")) + " retries" + latency_text},
        {"fault kinds", Number(faults.at("writes")) + " writes, " + Number(faults.at("spurious")) + " spurious, " +
                            Number(faults.at("pending")) + " pending, " + Number(faults.at("revoked")) + " revoked, " +
                            Number(faults.at("source-errors")) + " source and " + Number(faults.at("host-errors")) +
                            " host errors"},
        {"instructions completed", Assists(info.at("assists"))},
        {"tables", Number(tables.at("live")) + " live, " + Number(tables.at("limbo")) + " in limbo, " +
                       Number(tables.at("recycled")) + " recycled"},
        {"unplugged accesses",
         Number(info.at("unplugged-accesses")) + " (policy " + info.at("on-unplugged-access").get<std::string>() + ")"},
    };
    for (const json& disk : info.at("disks")) rows.push_back({"disk", Disk(disk)});
    Print(Table(rows));
    return 0;
  }

 private:
  std::string vm_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Subcommand> MakeInfo() { return std::make_unique<Info>(); }

}  // namespace faultline
