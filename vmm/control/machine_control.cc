#include "vmm/control/machine_control.h"

#include <utility>

#include "guestmem/error.h"
#include "guestmem/guest_memory.h"

namespace faultline {

MachineControl::MachineControl(MachineHost& host, Surroundings surroundings, Program program)
    : host_(host), surroundings_(std::move(surroundings)), program_(std::move(program)), migration_(program_.emit) {}

void MachineControl::MergeFaultLatency(LatencyHistogram& into) const { host_.machine().memory().MergeLatency(into); }

Machine& MachineControl::Free() {
  const MigrationInfo migration = migration_.Query();
  if (migration.active()) {
    throw UsageError(migration.restoring ? "the VM is being restored: wait until that is over"
                                         : "the VM is being saved: wait until that is over, or cancel it");
  }
  if (machine().config().incoming && !migration.restored()) {
    throw UsageError("the VM waits for a saved state, without which there is nothing to run: send migrate-incoming");
  }
  return machine();
}

void MachineControl::Pause() {
  migration_.KeepPaused();
  machine().Pause();
}

void MachineControl::Resume() {
  Free().Resume();
  migration_.Resumed();
}

void MachineControl::Reset() {
  Free();
  program_.reset();
}

void MachineControl::Save(FileDescriptor out) { migration_.Save(Free(), std::move(out), migration_rate()); }

void MachineControl::Restore(FileDescriptor in) {
  if (!machine().config().incoming || migration_.Query().status != MigrationStatus::kNone) {
    throw UsageError("the VM is not one that waits to be restored: start it with -incoming defer");
  }
  migration_.Restore(machine(), std::move(in));
}

}  // namespace faultline
