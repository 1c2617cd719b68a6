// `faultline memory unplug`
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>

#include "vmm/cli/output.h"
#include "vmm/cli/quantity.h"
#include "vmm/cli/subcommand.h"
#include "vmm/cli/vm_connection.h"

namespace faultline {
namespace {

using nlohmann::json;
using std::chrono::nanoseconds;

constexpr std::chrono::seconds kDefaultTimeout{10};
// Beyond the guest's own deadline: pins that asynchronous I/O holds, and the work itself.
constexpr std::chrono::seconds kSlack{30};

const std::string& Text(const json& object, const char* key) { return object.at(key).get_ref<const std::string&>(); }
std::string Time(const json& ns) { return ReadableDuration(nanoseconds(ns.get<int64_t>())); }

// Set by SIGINT while the guest is waited for.
volatile std::sig_atomic_t interrupted = 0;

class MemoryUnplug final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Required("ID", &id_, "Which device (see `faultline memory list`)");
    options.Flag("--force", &force_, "Take it away without asking the guest");
    options.Option("--timeout", "TIME", &timeout_, "How long the guest may take to answer; 10s by default");
    options.Flag("--detach", &detach_, "Do not wait: print the operation's number (see `faultline memory operations`)");
    options.Flag("--json", &json_, "Answer in JSON: bytes, ns");
    options.Footer(
        "Without --force the guest empties the memory first, and may refuse; then nothing has changed, and the\n"
        "exit status is 1. Ctrl-C withdraws the request. With --force the guest's later accesses to that memory read\n"
        "all ones and write nowhere.\n\n"
        "Examples:\n  faultline memory unplug vm1 dimm0 --timeout 5s\n  faultline memory unplug vm1 dimm0 --force\n"
        "  faultline memory unplug vm1 dimm0 --detach");
  }

  int Run() override {
    const nanoseconds timeout = timeout_ ? ParseDuration("--timeout", *timeout_) : nanoseconds(kDefaultTimeout);
    if (timeout < std::chrono::milliseconds(1) || timeout > std::chrono::hours(24)) {
      throw UsageError("--timeout: choose from 1ms to 24h");
    }
    json arguments{{"id", id_}, {"force", force_}};
    if (!force_) arguments["timeout-ms"] = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
    const auto client = ConnectToVm(vm_);
    const auto start = QmpClient::Clock::now();
    const json begun = client->Execute("x-faultline-memory-unplug", arguments, start + kAnswerTime);
    operation_ = begun.at("operation").get<uint64_t>();
    if (detach_) {
      if (json_) {
        PrintJson(begun);
      } else {
        Print("Unplugging " + id_ + " is operation " + std::to_string(operation_) + "\n");
      }
      return 0;
    }
    const json outcome = AwaitOutcome(*client, start, start + timeout + kSlack);
    Report(outcome);
    return Text(outcome, "outcome") == "done" ? 0 : 1;
  }

 private:
  json AwaitOutcome(QmpClient& client, QmpClient::Clock::time_point start, QmpClient::Clock::time_point deadline) {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = 1; };
    sigaction(SIGINT, &action, nullptr);
    const bool show = isatty(STDERR_FILENO) == 1;
    bool shown = false;
    bool withdrawn = false;
    json outcome;
    while (outcome.is_null()) {
      const auto now = QmpClient::Clock::now();
      if (now >= deadline)
        throw Error("VM '" + vm_ + "' never said what became of unplugging " + id_ + "; see `faultline memory list " +
                    vm_ + "`");
      if (interrupted != 0 && !withdrawn) {
        withdrawn = true;
        Withdraw(client);
      }
      const auto event = client.NextEvent(std::min(deadline, now + std::chrono::milliseconds(200)));
      if (event && IsOurs(*event, "X_FAULTLINE_MEMORY_UNPLUG")) outcome = event->at("data");
      if (event && IsOurs(*event, "X_FAULTLINE_MEMORY_PROGRESS")) stage_ = Text(event->at("data"), "stage");
      if (show && outcome.is_null() && now - start > std::chrono::seconds(1)) {
        shown = true;
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(QmpClient::Clock::now() - start).count();
        std::string line = StageText();
        line += " … " + std::to_string(seconds) + " s";
        PrintProgress("\r");
        PrintProgress(line);
        PrintProgress("\033[K");
      }
    }
    if (shown) PrintProgress("\r\033[K");
    return outcome;
  }

  bool IsOurs(const json& event, const char* name) const {
    return Text(event, "event") == name && event.at("data").at("operation").get<uint64_t>() == operation_;
  }

  // It may be too late for that; the outcome tells.
  void Withdraw(QmpClient& client) const {
    try {
      client.Execute("x-faultline-memory-cancel", {{"operation", operation_}}, QmpClient::Clock::now() + kAnswerTime);
    } catch (const UsageError& e) {
      PrintRemark(e.what());
    }
  }

  std::string StageText() const {
    if (stage_ == "noticed") return "The guest looks at the request to give up " + id_;
    if (stage_ == "emptying") return "The guest is emptying " + id_;
    if (stage_ == "removing") return "The guest gave up " + id_ + "; the host takes it back";
    return "Waiting for the guest to look at the request to give up " + id_;
  }

  void Report(const json& outcome) const {
    if (json_) PrintJson(outcome);
    if (Text(outcome, "outcome") != "done") {
      PrintError(Text(outcome, "reason"));
      return;
    }
    if (json_) return;
    const json& ns = outcome.at("ns");
    Print("Unplugged " + id_ + ": " + ReadableSize(Bytes(outcome.at("discarded").get<uint64_t>())) +
          " back at the host in " + Time(ns.at("total")) + " (revoke " + Time(ns.at("revoke")) + ", slot delete " +
          Time(ns.at("slot-delete")) + ", scan " + Time(ns.at("scan")) + ", discard " + Time(ns.at("discard")) + ")" +
          (force_ ? "" : "; the guest took " + Time(outcome.at("guest-ns"))) + "\n");
  }

  std::string vm_;
  std::string id_;
  uint64_t operation_ = 0;
  std::string stage_;
  bool force_ = false;
  bool detach_ = false;
  std::optional<std::string> timeout_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Subcommand> MakeMemoryUnplug() { return std::make_unique<MemoryUnplug>(); }

}  // namespace faultline
