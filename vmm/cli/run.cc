// `faultline run`
#include <csignal>

#include "vmm/cli/output.h"
#include "vmm/cli/run_options.h"
#include "vmm/cli/subcommand.h"
#include "vmm/cli/vm_process.h"

namespace faultline {
namespace {

class RunVm final : public Subcommand {
 public:
  void Describe(OptionList& options) override { texts_.Describe(options); }

  int Run() override {
    const RunOptions options = texts_.Parse();
    SetLogLevel(options.log_level);
    // A reader that goes away must not take the VM with it.
    std::signal(SIGPIPE, SIG_IGN);
    VmProcess vm(options);
    if (options.console != "stdio") {
      Print("VM '" + vm.name() + "' is running; its console is " + vm.console() + "\n");
    }
    const ExitStatus status = vm.Run();
    const std::string line = "VM '" + vm.name() + "' ended: " + status.sentence;
    if (status.kind == ExitKind::kCrash || status.kind == ExitKind::kError) {
      PrintError(line);
    } else {
      PrintRemark(line);
    }
    return status.code;
  }

 private:
  RunOptionTexts texts_;
};

}  // namespace

std::unique_ptr<Subcommand> MakeRun() { return std::make_unique<RunVm>(); }

}  // namespace faultline
