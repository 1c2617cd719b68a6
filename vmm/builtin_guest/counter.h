// `count`: a number that runs in memory, checked at each step, so that whoever stops the guest, moves it and lets it
// go on elsewhere is found out if a single page comes back older or newer than the guest left it. vCPU 0 alone.
#pragma once

#include "vmm/builtin_guest/text.h"

namespace faultline::guest {

// Counts in the first word of every page of RANGE, round after round, until something is typed or the machine asks the
// guest to end; prints how far it came. A line that begins with "error:" when the range is none.
void Count(Text range);

}  // namespace faultline::guest
