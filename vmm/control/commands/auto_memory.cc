// x-faultline-memory-auto: automatic resizing, set and told.
#include <nlohmann/json.hpp>

#include "vmm/control/arguments.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/vm_control.h"

namespace faultline {

nlohmann::json FaultlineMemoryAuto(const nlohmann::json& arguments, VmControl& vm) {
  Arguments args(arguments);
  const auto mode = args.OptionalString("mode");
  args.Finish();
  if (mode) vm.auto_memory().SetMode(ParseAutoMemoryMode(*mode), vm);
  return vm.auto_memory().Report();
}

}  // namespace faultline
