// `faultline memory resize`
#include <nlohmann/json.hpp>

#include "vmm/cli/device_wait.h"
#include "vmm/cli/output.h"
#include "vmm/cli/quantity.h"
#include "vmm/cli/subcommand.h"
#include "vmm/cli/vm_connection.h"
#include "vmm/machine/config.h"

namespace faultline {
namespace {

using nlohmann::json;
using std::chrono::nanoseconds;

constexpr std::chrono::seconds kDefaultTimeout{30};

Bytes BytesOf(const json& device, const char* key) { return Bytes(device.at(key).get<uint64_t>()); }

class MemoryResize final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Required("SIZE", &size_, "How much of its virtio-mem device the guest should use: 0, 256M, 1G");
    options.Option("--id", "ID", &id_, "Which device, if there are several");
    options.Option("--timeout", "TIME", &timeout_, "How long to wait for the guest to follow; 30s by default");
    options.Flag("--json", &json_, "Answer in JSON: sizes in bytes");
    options.Footer(
        "The VM must have been started with --virtio-mem. The guest follows by itself, block after block; what it\n"
        "gives back is the host's again when this returns. When it does not follow in time the exit status is 1, and\n"
        "the request stands: the guest may follow later, and another resize takes its place.\n\n"
        "Examples:\n  faultline memory resize vm1 1G\n  faultline memory resize vm1 0 --timeout 2m");
  }

  int Run() override {
    const nanoseconds timeout = timeout_ ? ParseDuration("--timeout", *timeout_) : nanoseconds(kDefaultTimeout);
    json arguments{{"size", size_ == "0" ? 0 : ParseAlignedSize("SIZE", size_, kPlugGranule).value}};
    if (id_) arguments["id"] = *id_;
    const auto client = ConnectToVm(vm_);
    const auto start = QmpClient::Clock::now();
    const json answer = client->Execute("x-faultline-memory-resize", arguments, start + kAnswerTime);
    const json device = AwaitDevice(*client, {.vm = vm_,
                                              .which = {"id", answer.at("id")},
                                              .size_key = "plugged",
                                              .show_progress = !json_,
                                              .start = start,
                                              .timeout = timeout});
    const bool done = BytesOf(device, "plugged") == BytesOf(device, "requested");
    if (json_) PrintJson(device);
    if (!done) {
      PrintError(Reason(device, timeout));
      return 1;
    }
    if (!json_) {
      Print("Resized " + device.at("id").get<std::string>() + " to " + ReadableSize(BytesOf(device, "plugged")) +
            " in " + ReadableDuration(QmpClient::Clock::now() - start) + "\n");
    }
    return 0;
  }

 private:
  std::string Reason(const json& device, nanoseconds timeout) const {
    std::string reason = "the guest of VM '" + vm_ + "' uses " + ReadableSize(BytesOf(device, "plugged")) + " of " +
                         device.at("id").get<std::string>() + " after " + ReadableDuration(timeout);
    if (!device.at("driver").get<bool>()) {
      reason += ": it has no virtio-mem driver that runs";
    } else if (device.contains("last-failure")) {
      reason += "; the last time the host refused: " + device.at("last-failure").get<std::string>();
    } else {
      reason += ": it has no more to give, or is still at it";
    }
    return reason + "; the request stands until another resize";
  }

  std::string vm_;
  std::string size_;
  std::optional<std::string> id_, timeout_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Subcommand> MakeMemoryResize() { return std::make_unique<MemoryResize>(); }

}  // namespace faultline
