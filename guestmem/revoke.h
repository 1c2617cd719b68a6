// Getting blocked accesses out of a dying region.
//
// A fault whose region died cannot be served and must not stay asleep: the memslot's deletion waits for
// the vCPU that sleeps in it. Two parties release such faults, and together they miss none:
//   R1  A fault that nobody claimed yet has an unread message, or one in a reader's hands. The reader
//       finds the region dying (it validates under the leaf lock) and calls RevokePage.
//   R2  A fault whose page was claimed before the dead mark (Filling: a slow source, or parked after a
//       failure) has no message left. RevokeClaimed, called by the unplug after the dead mark, walks
//       the leaves under their locks and releases those.
// A claim made after RevokeClaimed passed its leaf is impossible: the claimant would have seen the dead
// mark under the same lock. Present pages are left alone, so that a roll-back loses nothing.
#pragma once

#include "guestmem/region.h"
#include "guestmem/types.h"

namespace faultline {

// Releases whoever is blocked on the granule at `gpa`: with EFAULT if the page is absent, to look again
// if it is present. `region` is not Live. Read section required.
void RevokePage(const Region& region, Gpa gpa) noexcept;

// Releases whoever waits for a claimed page of `region`, which is not Live.
void RevokeClaimed(const Region& region) noexcept;

}  // namespace faultline
