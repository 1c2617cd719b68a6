// `faultline memory balloon`
#include <nlohmann/json.hpp>

#include "vmm/cli/device_wait.h"
#include "vmm/cli/output.h"
#include "vmm/cli/quantity.h"
#include "vmm/cli/subcommand.h"
#include "vmm/cli/vm_connection.h"

namespace faultline {
namespace {

using nlohmann::json;
using std::chrono::nanoseconds;

constexpr std::chrono::seconds kDefaultTimeout{30};

class MemoryBalloon final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Required("SIZE", &size_, "How much memory the guest should keep: 256M, 1G");
    options.Option("--timeout", "TIME", &timeout_, "How long to wait for the guest to follow; 30s by default");
    options.Flag("--json", &json_, "Answer in JSON: sizes in bytes");
    options.Footer(
        "The VM must have been started with --balloon. SIZE counts boot memory and DIMMs; as much as there is of them\n"
        "empties the balloon. When the guest does not follow in time the exit status is 1 and the request stands.\n\n"
        "Examples:\n  faultline memory balloon vm1 64M\n  faultline memory balloon vm1 512M --timeout 2m");
  }

  int Run() override {
    const nanoseconds timeout = timeout_ ? ParseDuration("--timeout", *timeout_) : nanoseconds(kDefaultTimeout);
    const json arguments{{"value", ParseSize("SIZE", size_).value}};
    const auto client = ConnectToVm(vm_);
    const auto start = QmpClient::Clock::now();
    client->Execute("balloon", arguments, start + kAnswerTime);
    const json balloon = AwaitDevice(*client, {.vm = vm_,
                                               .which = {"type", "balloon"},
                                               .size_key = "held",
                                               .show_progress = !json_,
                                               .start = start,
                                               .timeout = timeout});
    const auto took = QmpClient::Clock::now() - start;
    if (json_) PrintJson(balloon);
    const std::string held = ReadableSize(Bytes(balloon.at("held").get<uint64_t>()));
    if (balloon.at("held") != balloon.at("requested")) {
      PrintError("the guest of VM '" + vm_ + "' has given up " + held + " of " +
                 ReadableSize(Bytes(balloon.at("requested").get<uint64_t>())) + " after " + ReadableDuration(timeout) +
                 (balloon.at("driver").get<bool>() ? "" : ": it has no balloon driver that runs") +
                 "; the request stands until another one");
      return 1;
    }
    if (!json_) Print("The balloon holds " + held + " after " + ReadableDuration(took) + "\n");
    return 0;
  }

 private:
  std::string vm_;
  std::string size_;
  std::optional<std::string> timeout_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Subcommand> MakeMemoryBalloon() { return std::make_unique<MemoryBalloon>(); }

}  // namespace faultline
