// `faultline run`
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
    VmProcess vm(options);
    return RunAndReport(vm);
  }

 private:
  RunOptionTexts texts_;
};

}  // namespace

std::unique_ptr<Subcommand> MakeRun() { return std::make_unique<RunVm>(); }

}  // namespace faultline
