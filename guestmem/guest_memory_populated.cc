// Which guest memory holds something: what a saved VM has to contain of it.

#include "guestmem/guest_memory_impl.h"

namespace faultline {
namespace {

// Appends a page of the region that starts at `region`, to the stretch before it where they touch.
void AppendPage(std::vector<GpaRange>& ranges, Gpa region, Gpa page) {
  if (!ranges.empty() && ranges.back().end() == page && page != region) {
    ranges.back().size += kPageSize;
  } else {
    ranges.push_back({page, kPageSize});
  }
}

}  // namespace

std::vector<GpaRange> GuestMemory::PopulatedRanges() const {
  std::vector<GpaRange> ranges;
  MutexLock<Impl::ControlMutex> control(impl_->control_);
  for (const auto& entry : impl_->regions_.entries()) {
    const Region& region = *entry.value;
    if (!region.memory().backing->userfault_capable()) {
      ranges.push_back(entry.range);
      continue;
    }
    const ShadowTable& shadow = region.shadow();
    for (size_t i = 0; i < shadow.leaf_count(); ++i) {
      // The control lock keeps the region, and with it its leaves.
      LeafTable* const leaf = shadow.Find(i);
      if (leaf == nullptr) continue;
      MutexLock<LeafMutex> lock(leaf->lock());
      for (unsigned page = 0; page < kPagesPerLeaf; ++page) {
        if (!leaf->PresentLocked(page)) continue;
        AppendPage(ranges, entry.range.start, shadow.BaseOf(i) + kPageSize * page);
      }
    }
  }
  return ranges;
}

}  // namespace faultline
