// `faultline kill`
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <nlohmann/json.hpp>

#include "vmm/cli/output.h"
#include "vmm/cli/subcommand.h"
#include "vmm/control/qmp_client.h"
#include "vmm/control/runtime_dir.h"
#include "vmm/control/vm_lease.h"

namespace faultline {
namespace {

using nlohmann::json;

// How long a VM may take to end by itself before the kernel ends it.
constexpr std::chrono::milliseconds kPatience{2000};

class Kill final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Flag("--json", &json_, "Answer in JSON");
    options.Footer(
        "The guest is not asked. A VM that does not answer within 2 s is ended by SIGKILL.\n\n"
        "Examples:\n  faultline kill vm1");
  }

  int Run() override {
    const std::string directory = RuntimeDirectory();
    const RunningVm vm = FindVm(directory, vm_);
    // A descriptor names the process for good; the pid alone might be somebody else's by the time it is used.
    const FileDescriptor process(Host::System(), static_cast<int>(syscall(SYS_pidfd_open, vm.pid, 0)));
    if (!process && errno != ESRCH) throw Error("VM '" + vm_ + "' cannot be watched (" + ErrnoText(errno) + ")");
    // Still the holder of the name, so the descriptor is of the right process.
    if (!process || FindVm(directory, vm_).pid != vm.pid) return Answer(false);
    bool asked = false;
    try {
      const auto deadline = QmpClient::Clock::now() + kPatience;
      QmpClient(vm.socket_path, vm_, deadline).Execute("quit", json::object(), deadline);
      asked = true;
    } catch (const Error&) {
      // It will not do so itself: below, the kernel does.
    }
    if (Ended(process.get(), asked ? kPatience : std::chrono::milliseconds(0))) return Answer(false);
    if (syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0) != 0 || !Ended(process.get(), kPatience)) {
      throw Error("VM '" + vm_ + "' (pid " + std::to_string(vm.pid) + ") cannot be killed (" + ErrnoText(errno) + ")");
    }
    RunningVms(directory);  // clears away what it left
    return Answer(true);
  }

 private:
  static bool Ended(int process, std::chrono::milliseconds patience) {
    pollfd fd{process, POLLIN, 0};
    return poll(&fd, 1, static_cast<int>(patience.count())) == 1;
  }

  int Answer(bool by_force) const {
    if (json_) {
      PrintJson({{"name", vm_}, {"status", "ended"}, {"sigkill", by_force}});
    } else {
      Print("VM '" + vm_ + "' has ended" + (by_force ? " by SIGKILL" : "") + "\n");
    }
    return 0;
  }

  std::string vm_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Subcommand> MakeKill() { return std::make_unique<Kill>(); }

}  // namespace faultline
