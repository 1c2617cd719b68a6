#include "guestmem/fault_handler.h"

#include <cerrno>

#include "guestmem/clock.h"

namespace faultline {
namespace {

// A slow source is asked for at most this much at a time.
constexpr unsigned kMaxSlowPages = 64;
// How often an install is tried again while the address space is changing.
constexpr unsigned kMaxBusy = 16;

int ErrnoOf(InstallResult result) { return result == InstallResult::kNoMemory ? ENOMEM : EIO; }

}  // namespace

FaultOutcome FaultHandler::Handle(Gpa gpa, bool write, uint64_t began_ns, FaultStats& stats) noexcept {
  for (unsigned attempt = 0; attempt < kMaxRetries; ++attempt) {
    RcuDomain::ReadGuard guard(parts_.domain);
    const RegionMap::Entry* entry = parts_.regions.Lookup(gpa);  // step 1
    if (entry == nullptr) return FaultOutcome::kNotMapped;
    const FaultOutcome outcome = HandleIn(*entry->value, gpa, write, began_ns, stats);
    if (outcome != FaultOutcome::kRetry) return outcome;
  }
  return FaultOutcome::kRetry;
}

FaultHandler::ValidLeaf FaultHandler::LockLeaf(const Region& region, Gpa gpa, FaultStats& stats,
                                               bool* no_memory) noexcept {
  ShadowTable& shadow = region.shadow();
  const size_t index = shadow.IndexOf(gpa);
  Observe(parts_.observer, ProtocolStep::kRegionFound, region.id());
  LeafTable* leaf = shadow.Find(index);
  if (leaf == nullptr) {
    Observe(parts_.observer, ProtocolStep::kLeafMissing, region.id());
    std::unique_ptr<LeafTable> fresh = parts_.limbo.Allocate();
    if (fresh == nullptr) {
      *no_memory = true;
      return {};
    }
    Observe(parts_.observer, ProtocolStep::kLeafAllocated, region.id());
    ShadowTable::Linked linked = shadow.Link(index, std::move(fresh), region);
    leaf = linked.leaf;
    if (leaf == nullptr) {
      stats.dead_bails.Add(1);
      stats.retries.Add(1);
      Observe(parts_.observer, ProtocolStep::kFaultRetry, region.id());
      return {};
    }
  }
  const uint64_t seen = leaf->approx_generation();
  Observe(parts_.observer, ProtocolStep::kLeafFound, region.id());
  ValidLeaf locked(leaf);
  leaf->lock().AssertHeld();
  Observe(parts_.observer, ProtocolStep::kLeafLocked, region.id());
  if (!leaf->ServesLocked(&region, seen) || region.life() != RegionLife::kLive) {  // F2
    locked.Unlock();
    stats.retries.Add(1);
    Observe(parts_.observer, ProtocolStep::kFaultRetry, region.id());
    return {};
  }
  return locked;
}

PageWindow FaultHandler::ChooseWindowLocked(const Region& region, LeafTable& leaf, size_t index,
                                            unsigned page) noexcept {
  const unsigned granule = static_cast<unsigned>(region.granule() / kPageSize);
  const unsigned most = region.source().Direct({}, kPageSize) != nullptr ? kPagesPerLeaf : kMaxSlowPages;
  PageWindow window;
  if (parts_.fault_around.pages == FaultAround::kAuto) {
    window = NextWindow(page, leaf.approx_stream(), index > 0 ? region.shadow().Find(index - 1) : nullptr);
    window.count = std::min(window.count, most);
  } else {
    window = FixedWindow(page, std::min(parts_.fault_around.pages, most));
  }
  // Whole granules.
  const unsigned end = std::min((window.end() + granule - 1) / granule * granule, kPagesPerLeaf);
  window.first = window.first / granule * granule;
  window.count = end - window.first;
  // Within the region.
  const Gpa base = leaf.base();
  const unsigned region_first =
      region.gpa().start > base ? static_cast<unsigned>((region.gpa().start - base) / kPageSize) : 0;
  const unsigned region_end =
      static_cast<unsigned>(std::min<uint64_t>((region.gpa().end() - base) / kPageSize, kPagesPerLeaf));
  const unsigned low = std::max(window.first, region_first);
  const unsigned high = std::min(window.end(), region_end);
  // The absent run around the page.
  unsigned first = page / granule * granule;
  unsigned last = first + granule;
  while (first > low && leaf.AbsentLocked(first - 1)) --first;
  while (last < high && leaf.AbsentLocked(last)) ++last;
  return {first, last - first};
}

FaultHandler::Run FaultHandler::InstallLocked(const Region& region, LeafTable& leaf, PageWindow window,
                                              const std::byte* data, FaultStats& stats) noexcept {
  const unsigned granule = static_cast<unsigned>(region.granule() / kPageSize);
  const auto hva_of = [&](unsigned page) { return region.ToHva(leaf.base() + kPageSize * page); };
  unsigned page = window.first;
  unsigned busy = 0;
  if (window.count == kPagesPerLeaf && region.source().all_zero()) {
    const unsigned done = static_cast<unsigned>(region.installer().FillHuge(hva_of(0)) / kPageSize);
    for (unsigned i = 0; i < done; ++i) leaf.SetPresentLocked(i);
    stats.pages.Add(done);
    page = done;
  }
  while (page < window.end()) {
    const Installed installed = region.installer().Copy(hva_of(page), data + (kPageSize * (page - window.first)).value,
                                                        kPageSize * (window.end() - page));
    const unsigned done = static_cast<unsigned>(installed.done / kPageSize);
    for (unsigned i = 0; i < done; ++i) leaf.SetPresentLocked(page + i);
    stats.pages.Add(done);
    page += done;
    switch (installed.result) {
      case InstallResult::kInstalled:
        break;
      case InstallResult::kExists:
        // Somebody else's page: it is at the host, so the books say so, and who waited for it looks again.
        region.installer().Wake({hva_of(page), kPageSize * granule});
        for (unsigned i = 0; i < granule; ++i) leaf.SetPresentLocked(page + i);
        page += granule;
        break;
      case InstallResult::kBusy:
        if (++busy < kMaxBusy) break;
        [[fallthrough]];
      default:
        return {installed.result, page};
    }
  }
  Observe(parts_.observer, ProtocolStep::kPageInstalled, region.id());
  return {InstallResult::kInstalled, window.end()};
}

FaultOutcome FaultHandler::HandleIn(const Region& region, Gpa gpa, bool write, uint64_t began_ns,
                                    FaultStats& stats) noexcept {
  bool no_memory = false;
  ValidLeaf leaf = LockLeaf(region, gpa, stats, &no_memory);
  if (!leaf) {
    if (no_memory) stats.host_errors.Add(1);
    return FaultOutcome::kRetry;
  }
  leaf->lock().AssertHeld();
  stats.faults.Add(1);
  if (write) stats.writes.Add(1);
  const unsigned page = PageInLeaf(gpa);
  const unsigned granule = static_cast<unsigned>(region.granule() / kPageSize);
  if (leaf->PresentLocked(page)) {  // step 4
    leaf.Unlock();
    region.installer().Wake({region.ToHva(AlignDown(gpa, region.granule())), region.granule()});
    stats.spurious.Add(1);
    return FaultOutcome::kSpurious;
  }
  if (leaf->FillingLocked(page)) {
    stats.pending.Add(1);
    return FaultOutcome::kPending;
  }

  const size_t index = region.shadow().IndexOf(gpa);
  const PageWindow window = ChooseWindowLocked(region, *leaf, index, page);
  const Gpa first = leaf->base() + kPageSize * window.first;
  FillClaim claim{first,   window.count, leaf->approx_generation(), region.id(), nullptr, first - region.gpa().start,
                  began_ns};
  leaf->SetStreamLocked({static_cast<uint16_t>(window.end()), static_cast<uint16_t>(window.count)});

  if (const std::byte* data = region.source().Direct(claim.offset, kPageSize * window.count)) {  // step 5
    const Run run = InstallLocked(region, *leaf, window, data, stats);
    if (leaf->PresentLocked(page)) return FaultOutcome::kInstalled;
    if (run.result == InstallResult::kBusy || run.result == InstallResult::kGone) {
      stats.retries.Add(1);
      return FaultOutcome::kRetry;
    }
    claim.gpa = AlignDown(gpa, region.granule());
    claim.pages = granule;
    for (unsigned i = 0; i < granule; ++i) leaf->SetFillingLocked(page / granule * granule + i);
    leaf.Unlock();
    stats.host_errors.Add(1);
    parts_.failures.OnParked(claim, ErrnoOf(run.result), /*host=*/true);
    return FaultOutcome::kParked;
  }

  claim.source = region.memory().source;
  for (unsigned p = window.first; p < window.end(); ++p) leaf->SetFillingLocked(p);
  leaf.Unlock();
  Observe(parts_.observer, ProtocolStep::kPageClaimed, region.id());
  if (!parts_.fills.Submit(claim)) {
    stats.host_errors.Add(1);
    parts_.failures.OnParked(claim, ENOMEM, /*host=*/true);
    return FaultOutcome::kParked;
  }
  stats.pending.Add(1);
  return FaultOutcome::kPending;
}

void FaultHandler::CompleteFill(const FillClaim& claim, const std::byte* data, int error, FaultStats& stats) noexcept {
  Observe(parts_.observer, ProtocolStep::kSourceRead, claim.region);
  FillClaim rest = claim;
  bool host = false;
  {
    RcuDomain::ReadGuard guard(parts_.domain);
    const RegionMap::Entry* entry = parts_.regions.Lookup(claim.gpa);  // step 1 again
    if (entry == nullptr) return;  // unplugged meanwhile; who waited was released by the unplug
    const Region& region = *entry->value;
    LeafTable* found = region.shadow().Find(region.shadow().IndexOf(claim.gpa));
    if (found == nullptr) return;
    Observe(parts_.observer, ProtocolStep::kLeafFound, region.id());
    LeafTable& leaf = *found;
    MutexLock<LeafMutex> lock(leaf.lock());
    if (!leaf.ServesLocked(&region, claim.generation) || region.life() != RegionLife::kLive) {
      stats.retries.Add(1);
      return;
    }
    if (error == 0) {
      // Only this claim's holder ends its Filling pages, but a roll-back may have emptied them.
      const PageWindow window{PageInLeaf(claim.gpa), claim.pages};
      unsigned page = window.first;
      Run run;
      while (page < window.end()) {
        if (!leaf.FillingLocked(page)) {
          ++page;
          continue;
        }
        unsigned end = page;
        while (end < window.end() && leaf.FillingLocked(end)) ++end;
        run = InstallLocked(region, leaf, {page, end - page}, data + (kPageSize * (page - window.first)).value, stats);
        if (run.result != InstallResult::kInstalled) break;
        page = end;
      }
      if (run.result == InstallResult::kInstalled) {
        stats.latency.Record(NowNs() - claim.began_ns);
        return;
      }
      host = true;
      error = ErrnoOf(run.result);
      rest.gpa = claim.gpa + kPageSize * (run.stopped_at - window.first);
      rest.pages = window.end() - run.stopped_at;
    }
  }
  (host ? stats.host_errors : stats.source_errors).Add(1);
  parts_.failures.OnParked(rest, error, host);
}

void FaultHandler::Unpark(const FillClaim& claim) noexcept {
  RcuDomain::ReadGuard guard(parts_.domain);
  const RegionMap::Entry* entry = parts_.regions.Lookup(claim.gpa);
  if (entry == nullptr) return;
  const Region& region = *entry->value;
  LeafTable* leaf = region.shadow().Find(region.shadow().IndexOf(claim.gpa));
  if (leaf == nullptr) return;
  {
    MutexLock<LeafMutex> lock(leaf->lock());
    if (!leaf->ServesLocked(&region, claim.generation)) return;
    const unsigned first = PageInLeaf(claim.gpa);
    for (unsigned p = first; p < first + claim.pages; ++p) leaf->SetAbsentLocked(p);
  }
  region.installer().Wake({region.ToHva(claim.gpa), kPageSize * claim.pages});
}

}  // namespace faultline
