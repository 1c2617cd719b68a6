// `faultline memory unplug`
#include <unistd.h>

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

class MemoryUnplug final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Required("ID", &id_, "Which device (see `faultline memory list`)");
    options.Flag("--force", &force_, "Take it away without asking the guest");
    options.Option("--timeout", "TIME", &timeout_, "How long the guest may take to answer; 10s by default");
    options.Flag("--json", &json_, "Answer in JSON: bytes, ns");
    options.Footer(
        "Without --force the guest empties the memory first, and may refuse; then nothing has changed, and the\n"
        "exit status is 1. With --force its later accesses to that memory read all ones and write nowhere.\n\n"
        "Examples:\n  faultline memory unplug vm1 dimm0 --timeout 5s\n  faultline memory unplug vm1 dimm0 --force");
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
    client->Execute("x-faultline-memory-unplug", arguments, start + kAnswerTime);
    const json outcome = AwaitOutcome(*client, start, start + timeout + kSlack);
    Report(outcome);
    return Text(outcome, "outcome") == "done" ? 0 : 1;
  }

 private:
  json AwaitOutcome(QmpClient& client, QmpClient::Clock::time_point start,
                    QmpClient::Clock::time_point deadline) const {
    const bool show = isatty(STDERR_FILENO) == 1;
    bool shown = false;
    json outcome;
    while (outcome.is_null()) {
      const auto now = QmpClient::Clock::now();
      if (now >= deadline)
        throw Error("VM '" + vm_ + "' never said what became of unplugging " + id_ + "; see `faultline memory list " +
                    vm_ + "`");
      const auto event = client.NextEvent(std::min(deadline, now + std::chrono::seconds(1)));
      if (event && Text(*event, "event") == "X_FAULTLINE_MEMORY_UNPLUG" && Text(event->at("data"), "id") == id_) {
        outcome = event->at("data");
      } else if (show && now - start > std::chrono::seconds(1)) {
        shown = true;
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(QmpClient::Clock::now() - start).count();
        Progress("\rWaiting for the guest to let go of " + id_ + " … " + std::to_string(seconds) + " s\033[K");
      }
    }
    if (shown) Progress("\r\033[K");
    return outcome;
  }

  static void Progress(const std::string& text) {
    [[maybe_unused]] const auto written = write(STDERR_FILENO, text.data(), text.size());
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
          Time(ns.at("slot-delete")) + ", scan " + Time(ns.at("scan")) + ", discard " + Time(ns.at("discard")) + ")\n");
  }

  std::string vm_;
  std::string id_;
  bool force_ = false;
  std::optional<std::string> timeout_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Subcommand> MakeMemoryUnplug() { return std::make_unique<MemoryUnplug>(); }

}  // namespace faultline
