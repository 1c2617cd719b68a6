// `faultline pause`, `resume` and `shutdown`: one QMP command each.
#include <nlohmann/json.hpp>

#include "vmm/cli/output.h"
#include "vmm/cli/quantity.h"
#include "vmm/cli/subcommand.h"
#include "vmm/cli/vm_connection.h"

namespace faultline {
namespace {

using nlohmann::json;

class PauseOrResume final : public Subcommand {
 public:
  explicit PauseOrResume(bool pause) : pause_(pause) {}

  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Flag("--json", &json_, "Answer in JSON");
    options.Footer(pause_ ? "Memory can be plugged and unplugged by force while a VM is paused.\n\n"
                            "Examples:\n  faultline pause vm1"
                          : "Examples:\n  faultline resume vm1");
  }

  int Run() override {
    const auto client = ConnectToVm(vm_);
    const auto deadline = QmpClient::Clock::now() + kAnswerTime;
    client->Execute(pause_ ? "stop" : "cont", json::object(), deadline);
    const json status = client->Execute("query-status", json::object(), deadline);
    if (json_) {
      PrintJson({{"name", vm_}, {"status", status.at("status")}});
    } else {
      Print("VM '" + vm_ + "' is " + status.at("status").get<std::string>() + "\n");
    }
    return 0;
  }

 private:
  const bool pause_;
  std::string vm_;
  bool json_ = false;
};

class Shutdown final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Option("--timeout", "TIME", &timeout_, "How long to wait for the VM to end; 30s by default, 0s not at all");
    options.Flag("--json", &json_, "Answer in JSON");
    options.Footer(
        "The guest is asked, and decides. `faultline kill` does not ask.\n\n"
        "Examples:\n  faultline shutdown vm1\n  faultline shutdown vm1 --timeout 0s");
  }

  int Run() override {
    const auto timeout = timeout_ ? ParseDuration("--timeout", *timeout_) : std::chrono::seconds(30);
    if (timeout > std::chrono::hours(24)) throw UsageError("--timeout: choose up to 24h");
    const auto client = ConnectToVm(vm_);
    client->Execute("system_powerdown", json::object(), QmpClient::Clock::now() + kAnswerTime);
    if (timeout.count() == 0) {
      Answer("asked", "VM '" + vm_ + "' was asked to shut down\n");
      return 0;
    }
    if (AwaitVmEnd(*client, vm_, QmpClient::Clock::now() + timeout)) {
      Answer("ended", "VM '" + vm_ + "' has ended\n");
      return 0;
    }
    throw Error("VM '" + vm_ + "' did not shut down within " + ReadableDuration(timeout) + "; `faultline kill " + vm_ +
                "` ends it without asking");
  }

 private:
  void Answer(const std::string& status, const std::string& text) const {
    if (json_) {
      PrintJson({{"name", vm_}, {"status", status}});
    } else {
      Print(text);
    }
  }

  std::string vm_;
  std::optional<std::string> timeout_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Subcommand> MakePause() { return std::make_unique<PauseOrResume>(true); }
std::unique_ptr<Subcommand> MakeResume() { return std::make_unique<PauseOrResume>(false); }
std::unique_ptr<Subcommand> MakeShutdown() { return std::make_unique<Shutdown>(); }

}  // namespace faultline
