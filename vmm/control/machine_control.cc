#include "vmm/control/machine_control.h"

#include <utility>

#include "guestmem/guest_memory.h"

namespace faultline {

MachineControl::MachineControl(MachineHost& host, Surroundings surroundings, Program program)
    : host_(host), surroundings_(std::move(surroundings)), program_(std::move(program)) {}

void MachineControl::MergeFaultLatency(LatencyHistogram& into) const { host_.machine().memory().MergeLatency(into); }

}  // namespace faultline
