#include "devices/pci/intx_router.h"

namespace faultline {

void IntxRouter::SetLevel(unsigned source, bool asserted) {
  MutexLock lock(mutex_);
  pins_[source].asserted = asserted;
  DriveLocked(LineFor(source / kFunctions));
}

void IntxRouter::SetDisabled(unsigned source, bool disabled) {
  MutexLock lock(mutex_);
  pins_[source].disabled = disabled;
  DriveLocked(LineFor(source / kFunctions));
}

bool IntxRouter::asserted(unsigned source) const {
  MutexLock lock(mutex_);
  return pins_[source].asserted;
}

void IntxRouter::DriveLocked(unsigned line) {
  bool level = false;
  for (unsigned source = 0; source < kSources; ++source) {
    if (LineFor(source / kFunctions) == line) level |= pins_[source].asserted && !pins_[source].disabled;
  }
  if (level == levels_[line]) return;
  levels_[line] = level;
  if (lines_[line] != nullptr) lines_[line]->SetLevel(level);
}

}  // namespace faultline
