// Where in a range memory is plugged and where pages are, for people to look at.

#include <algorithm>

#include "guestmem/guest_memory_impl.h"

namespace faultline {

ResidencyMap GuestMemory::Impl::Residency(GpaRange range, size_t cells) const {
  ResidencyMap map;
  const size_t most = std::max<size_t>(cells, 1);
  map.cell = std::max(AlignUp(Bytes((range.size.value + most - 1) / most), kLeafSpan), kLeafSpan);
  map.plugged.resize(std::max<size_t>(AlignUp(range.size, map.cell) / map.cell, 1));
  map.present.resize(map.plugged.size());
  // No leaf is unlinked while the control lock is held.
  MutexLock<ControlMutex> control(control_);
  for (const auto& entry : regions_.entries()) {
    if (!entry.range.Overlaps(range)) continue;
    const ShadowTable& shadow = entry.value->shadow();
    for (size_t i = 0; i < shadow.leaf_count(); ++i) {
      const Gpa start = std::max(shadow.BaseOf(i), entry.range.start);
      if (!range.Contains(start)) continue;
      const size_t cell = (start - range.start) / map.cell;
      map.plugged[cell] += std::min(shadow.BaseOf(i) + kLeafSpan, entry.range.end()) - start;
      if (const LeafTable* leaf = shadow.Find(i)) map.present[cell] += kPageSize * leaf->approx_population();
    }
  }
  return map;
}

ResidencyMap GuestMemory::Residency(GpaRange range, size_t cells) const { return impl_->Residency(range, cells); }

}  // namespace faultline
