// Where the steps of the fault, unplug and plug protocols can be watched, and held, by a test.
//
// Production passes no observer: each step then costs one predictable branch.
#pragma once

#include <cstdint>

#include "guestmem/types.h"

namespace faultline {

enum class ProtocolStep : uint8_t {
  // A fault. No lock held, inside a read section, unless said otherwise.
  kRegionFound,    // step 1 done
  kLeafMissing,    // step 2: no table there
  kLeafAllocated,  // a table in hand, not linked, link lock not yet taken
  kLeafFound,      // a table in hand, leaf lock not yet taken
  kLeafLocked,     // leaf lock held, not yet validated
  kPageClaimed,    // Filling, leaf lock released, read section over: the slow source is about to be read
  kSourceRead,     // the slow source answered, nothing revalidated yet; no read section
  kPageInstalled,  // Present; leaf lock held
  kFaultRetry,     // validation failed; no lock held
  // A discard of pages in a region that lives on. Leaf lock held.
  kDiscardLocked,   // validated; the pages are still the guest's
  kPagesDiscarded,  // the host has them back, the table does not know it yet
  // An unplug. Control lock held.
  kDeadMarked,
  kUnpublished,
  kRevoked,       // blocked faults released
  kSlotDeleted,   // the listener's OnUnmap returned
  kLeafDetached,  // a table unlinked and emptied; no leaf lock held
  kDiscarded,     // the host has the pages back
  kRegionDead,
  // A plug. Control lock held.
  kTableTakenBack,  // a table of an earlier incarnation linked again
  kPublished,
};

class ProtocolObserver {
 public:
  virtual ~ProtocolObserver() = default;
  // Called on the thread that takes the step. May block; must not call into the object that calls it.
  virtual void At(ProtocolStep step, RegionId region) noexcept = 0;
};

inline void Observe(ProtocolObserver* observer, ProtocolStep step, RegionId region) noexcept {
  if (observer != nullptr) [[unlikely]]
    observer->At(step, region);
}

}  // namespace faultline
