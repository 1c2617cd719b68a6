#include "devices/pci/intx_router.h"

namespace faultline {

void IntxRouter::SetLevel(unsigned slot, bool asserted) {
  MutexLock lock(mutex_);
  pins_[slot].asserted = asserted;
  DriveLocked(LineFor(slot));
}

void IntxRouter::SetDisabled(unsigned slot, bool disabled) {
  MutexLock lock(mutex_);
  pins_[slot].disabled = disabled;
  DriveLocked(LineFor(slot));
}

bool IntxRouter::asserted(unsigned slot) const {
  MutexLock lock(mutex_);
  return pins_[slot].asserted;
}

void IntxRouter::DriveLocked(unsigned line) {
  bool level = false;
  for (unsigned slot = line; slot < kSlots; slot += kLines) level |= pins_[slot].asserted && !pins_[slot].disabled;
  if (level == levels_[line]) return;
  levels_[line] = level;
  if (lines_[line] != nullptr) lines_[line]->SetLevel(level);
}

}  // namespace faultline
