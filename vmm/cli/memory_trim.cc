// `faultline memory trim`
#include <nlohmann/json.hpp>

#include "vmm/cli/subcommand.h"
#include "vmm/cli/vm_connection.h"

namespace faultline {
namespace {

using nlohmann::json;

class MemoryTrim final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Footer(
        "Asks the guest once to tell of all its free memory, which goes back to the host; the guest keeps the right\n"
        "to use it and does not wait. The VM must have been started with --balloon.\n\n"
        "Examples:\n  faultline memory trim vm1");
  }

  int Run() override {
    AskVm(vm_, "x-faultline-balloon-trim", json::object());
    return 0;
  }

 private:
  std::string vm_;
};

}  // namespace

std::unique_ptr<Subcommand> MakeMemoryTrim() { return std::make_unique<MemoryTrim>(); }

}  // namespace faultline
