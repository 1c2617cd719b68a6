// The maps a fault consults: guest-physical to region, and host-virtual to region.
#pragma once

#include "guestmem/region_list.h"

namespace faultline {

class Region;

// Regions a guest or a device can reach now. A dying region is no longer here.
using RegionMap = RegionList<Gpa, Region>;

// Regions whose host range is still mapped, dying ones included: a userfault message names a host address.
using HostRangeMap = RegionList<Hva, Region>;

}  // namespace faultline
