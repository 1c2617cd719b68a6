// `faultline xml`
#include <nlohmann/json.hpp>

#include "vmm/cli/output.h"
#include "vmm/cli/subcommand.h"
#include "vmm/cli/vm_connection.h"

namespace faultline {
namespace {

class Xml final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Required("VM", &vm_, "Name of a running VM (see `faultline list`)");
    options.Footer(
        "Prints the VM as libvirt's domain XML, with the memory that is plugged now: `virsh define` takes it, with\n"
        "qemu-system-faultline as its emulator, and `faultline run --xml FILE` starts another one like it. What "
        "libvirt\n"
        "has no element for stands in <metadata>, where only Faultline reads it.\n\n"
        "Examples:\n  faultline xml vm1 > vm1.xml");
  }

  int Run() override {
    Print(AskVm(vm_, "x-faultline-xml", nlohmann::json::object()).at("xml").get<std::string>());
    return 0;
  }

 private:
  std::string vm_;
};

}  // namespace

std::unique_ptr<Subcommand> MakeXml() { return std::make_unique<Xml>(); }

}  // namespace faultline
