// `faultline save`: a running VM into a file.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <nlohmann/json.hpp>
#include <utility>

#include "guestmem/error.h"
#include "vmm/cli/output.h"
#include "vmm/cli/quantity.h"
#include "vmm/cli/subcommand.h"
#include "vmm/cli/vm_connection.h"

namespace faultline {
namespace {

using nlohmann::json;

// Memory goes at disk speed; a VM that writes nothing for this long hangs.
constexpr std::chrono::seconds kStallTime{60};

volatile std::sig_atomic_t interrupted = 0;

// Ctrl-C ends the saving, not this program alone: the VM would stay paused.
void CatchInterrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

// The file beside its place until it is whole, so that a save that fails leaves there what was there. Devices and
// pipes are written to as they are.
class Target {
 public:
  explicit Target(std::string path) : path_(std::move(path)) {
    struct stat info {};
    const bool there = stat(path_.c_str(), &info) == 0;
    if (there && S_ISDIR(info.st_mode)) {
      throw UsageError(path_ + " is a directory: give the name of a file to save to");
    }
    if (!there || S_ISREG(info.st_mode)) partial_ = path_ + ".partial";
    const std::string& name = partial_.empty() ? path_ : partial_;
    const int flags = O_WRONLY | O_CLOEXEC | (partial_.empty() ? 0 : O_CREAT | O_TRUNC | O_NOFOLLOW);
    // The guest's memory is nobody else's business.
    file_ = FileDescriptor(Host::System(), open(name.c_str(), flags, 0600));
    if (!file_) {
      throw Error(name + " cannot be written (" + ErrnoText(errno) + "): choose another file; the VM goes on");
    }
  }
  ~Target() {
    if (!partial_.empty()) unlink(partial_.c_str());
  }
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  int fd() const { return file_.get(); }
  // It is whole: on the disk and in its place. Throws Error.
  void Keep() {
    if (partial_.empty()) return;
    if (fsync(file_.get()) != 0 || rename(partial_.c_str(), path_.c_str()) != 0) {
      throw Error(path_ + " cannot be written (" + ErrnoText(errno) + "): choose another file; the VM goes on");
    }
    partial_.clear();
  }

 private:
  const std::string path_;
  std::string partial_;
  FileDescriptor file_;
};

class Save final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Required("FILE", &file_, "Where to; a file that is there is replaced when all went well");
    options.Flag("--keep", &keep_, "Let the VM go on afterwards; it ends otherwise");
    options.Flag("--json", &json_, "Answer in JSON: name, file, bytes, ms, ended");
    options.Footer(
        "The VM is paused, then its memory and the state of its vCPUs and devices are written to FILE; `faultline\n"
        "restore FILE` goes on from there. A VM that could not be saved, or whose saving Ctrl-C ended, goes on as if\n"
        "nothing had been. Memory that the guest never touched takes no room. The built-in guest can be saved, a\n"
        "booted kernel cannot yet.\n\n"
        "Examples:\n  faultline save vm1 vm1.saved\n  faultline save vm1 backup.saved --keep");
  }

  int Run() override {
    const auto client = ConnectToVm(vm_);
    Target target(file_);
    const bool ran = Ask(*client, "query-status").at("running").get<bool>();
    CatchInterrupts();
    client->PassDescriptor("save", target.fd(), QmpClient::Clock::now() + kAnswerTime);
    Ask(*client, "migrate", {{"uri", "fd:save"}});
    const json outcome = AwaitEnd(*client);
    if (outcome.at("status") != "completed") {
      throw Error("VM '" + vm_ + "' was not saved and goes on: " + outcome.value("error-desc", "it was cancelled"));
    }
    try {
      target.Keep();
    } catch (const Error&) {
      if (ran) Ask(*client, "cont");
      throw;
    }
    if (!keep_) {
      Ask(*client, "quit");
      if (!AwaitVmEnd(*client, vm_, QmpClient::Clock::now() + kAnswerTime)) {
        throw Error("VM '" + vm_ + "' is saved in " + file_ + " but does not end; `faultline kill " + vm_ +
                    "` ends it by force");
      }
    } else if (ran) {
      Ask(*client, "cont");
    }
    Report(outcome);
    return 0;
  }

 private:
  static json Ask(QmpClient& client, std::string_view command, const json& arguments = json::object()) {
    return client.Execute(command, arguments, QmpClient::Clock::now() + kAnswerTime);
  }

  json AwaitEnd(QmpClient& client) const {
    const bool show = isatty(STDERR_FILENO) == 1;
    bool shown = false;
    auto progressed = QmpClient::Clock::now();
    uint64_t written = 0;
    while (true) {
      json status = Ask(client, "query-migrate");
      const std::string word = status.value("status", "none");
      if (word != "setup" && word != "active") {
        if (shown) PrintProgress("\r\033[K");
        return status;
      }
      const json& ram = status.at("ram");
      const auto now = QmpClient::Clock::now();
      if (const auto transferred = ram.at("transferred").get<uint64_t>(); transferred != written) {
        written = transferred;
        progressed = now;
      }
      if (now - progressed > kStallTime) {
        Ask(client, "migrate_cancel");
        throw Error("saving VM '" + vm_ + "' has come to a halt; it was cancelled: check the disk under " + file_);
      }
      if (show && status.at("total-time").get<uint64_t>() > 500) {
        shown = true;
        const auto total = ram.at("total").get<uint64_t>();
        PrintProgress("\rSaving " + vm_ + " … " + ReadableSize(Bytes(total - ram.at("remaining").get<uint64_t>())) +
                      " of " + ReadableSize(Bytes(total)) + "\033[K");
      }
      if (interrupted != 0) Ask(client, "migrate_cancel");  // again and again does no harm
      client.NextEvent(now + std::chrono::milliseconds(50));
    }
  }

  void Report(const json& outcome) const {
    const auto bytes = outcome.at("ram").at("transferred").get<uint64_t>();
    if (json_) {
      PrintJson(
          {{"name", vm_}, {"file", file_}, {"bytes", bytes}, {"ms", outcome.at("total-time")}, {"ended", !keep_}});
      return;
    }
    Print("VM '" + vm_ + "' is saved in " + file_ + " (" + ReadableSize(Bytes(bytes)) + ")" +
          (keep_ ? " and goes on" : "; `faultline restore " + file_ + "` goes on from there") + "\n");
  }

  std::string vm_;
  std::string file_;
  bool keep_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Subcommand> MakeSave() { return std::make_unique<Save>(); }

}  // namespace faultline
