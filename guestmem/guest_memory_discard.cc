// Giving pages back to the host while their region lives on: what a balloon and free-page reporting ask for.
//
// Why no write is lost and no stale page survives:
//   D1  The table is validated under its lock as a fault does it (F2): it serves this region, which is Live.
//   D2  The host's call and the change from Present to Absent happen inside one critical section of that lock.
//   D3  Whoever installs a page of this stretch, or copies to or from one for a device, does so inside a
//       critical section of the same lock.
// An install that comes before D2's section is Present there and is discarded; one that comes after brings a
// fresh page, which no discard asked for earlier can take. A vCPU's own store needs no lock: it hits the page
// before the call took it, and is part of what the guest gave away, or misses, and its fault waits for the lock.
// This guarantees I3 for every page outside the range, I5 always, and that a page is the host's when Discard
// returns. Against an unplug: the scan takes the same lock, so a table is either emptied by it or discarded
// here before, and D1 stops a discard that comes later.
//
// The lock's rule is kept: dropping up to 2 MiB of pages waits for no fault, no unplug and no page source.

#include <algorithm>

#include "guestmem/guest_memory_impl.h"

namespace faultline {
namespace {

Gpa AlignUpTo(Gpa gpa, Bytes unit) { return Gpa(AlignUp(Bytes(gpa.value), unit).value); }

}  // namespace

void GuestMemory::Impl::DiscardInLeaf(const Region& region, GpaRange part, DiscardReport& report) noexcept {
  LeafTable* const leaf = region.shadow().Find(region.shadow().IndexOf(part.start));
  if (leaf == nullptr) return;  // never faulted in
  const uint64_t seen = leaf->approx_generation();
  MutexLock<LeafMutex> lock(leaf->lock());
  if (!leaf->ServesLocked(&region, seen) || region.life() != RegionLife::kLive) return;  // D1
  Observe(observer_, ProtocolStep::kDiscardLocked, region.id());
  // One call from the first page that is there to the last: absent ones in between cost nothing.
  const auto first = static_cast<unsigned>((part.start - leaf->base()) / kPageSize);
  const unsigned end = first + static_cast<unsigned>(part.size / kPageSize);
  unsigned low = end;
  unsigned high = first;
  unsigned count = 0;
  for (unsigned page = first; page < end; ++page) {
    if (!leaf->PresentLocked(page)) continue;
    low = std::min(low, page);
    high = page + 1;
    ++count;
  }
  if (count == 0) return;
  const int result =
      region.memory().backing->Discard({region.ToHva(leaf->base() + kPageSize * low), kPageSize * (high - low)});
  ++report.calls;
  if (result < 0) {
    if (report.error == 0) report.error = -result;
    return;
  }
  Observe(observer_, ProtocolStep::kPagesDiscarded, region.id());
  for (unsigned page = low; page < high; ++page) leaf->ClearPresentLocked(page);  // D2
  report.discarded += kPageSize * count;
}

DiscardReport GuestMemory::Impl::Discard(GpaRange range) noexcept {
  DiscardReport report;
  const auto checked = GpaRange::Make(range.start, range.size);
  if (!checked) return report;
  Gpa at = range.start;
  while (at < range.end()) {
    // A read section for each leaf: nobody waits long for the end of one.
    RcuDomain::ReadGuard guard(domain_);
    const RegionMap::Entry* entry = regions_.LookupFrom(at);
    if (entry == nullptr || entry->range.start >= range.end()) break;
    const Region& region = *entry->value;
    at = std::max(at, entry->range.start);
    const Gpa leaf_end = std::min(AlignDown(at, kLeafSpan) + kLeafSpan, std::min(range.end(), entry->range.end()));
    const Gpa start = AlignUpTo(at, region.granule());
    const Gpa end = AlignDown(leaf_end, region.granule());
    if (start < end && region.memory().backing->userfault_capable()) {
      DiscardInLeaf(region, {start, end - start}, report);
    }
    at = leaf_end;
  }
  return report;
}

DiscardReport GuestMemory::Discard(GpaRange range) noexcept { return impl_->Discard(range); }

}  // namespace faultline
