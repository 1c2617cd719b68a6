// `faultline version`
#include "vmm/control/version.h"

#include <nlohmann/json.hpp>

#include "vmm/cli/output.h"
#include "vmm/cli/subcommand.h"

namespace faultline {
namespace {

class Version final : public Subcommand {
 public:
  void Describe(OptionList& options) override { options.Flag("--json", &json_, "Answer in JSON"); }

  int Run() override {
    if (json_) {
      PrintJson({{"name", "faultline"}, {"version", kVersion}});
    } else {
      Print(std::string("faultline ") + kVersion + "\n");
    }
    return 0;
  }

 private:
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Subcommand> MakeVersion() { return std::make_unique<Version>(); }

}  // namespace faultline
