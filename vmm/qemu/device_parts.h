// The devices of a command line: what each `-device` adds to the machine.
#pragma once

#include "vmm/control/option_values.h"
#include "vmm/qemu/backend_parts.h"
#include "vmm/qemu/plan.h"

namespace faultline {

// Throws UsageError for a device that is not there; the sentence names the element of the domain's XML that most
// likely stands behind it.
void TakeDevice(OptionValues* device, BackendParts* parts, QemuPlan* plan);

}  // namespace faultline
