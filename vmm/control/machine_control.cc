#include "vmm/control/machine_control.h"

#include <utility>

#include "guestmem/guest_memory.h"

namespace faultline {

MachineControl::MachineControl(Machine& machine, Surroundings surroundings, std::function<void()> quit)
    : machine_(&machine), surroundings_(std::move(surroundings)), quit_(std::move(quit)) {}

void MachineControl::MergeFaultLatency(LatencyHistogram& into) const { machine_->memory().MergeLatency(into); }

}  // namespace faultline
