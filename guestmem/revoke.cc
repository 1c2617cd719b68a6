#include "guestmem/revoke.h"

#include "guestmem/leaf_table.h"

namespace faultline {
namespace {

// A revocation that fails leaves a vCPU asleep, so passing failures are tried again.
void RevokeRange(const Region& region, HvaRange range) noexcept {
  for (unsigned attempt = 0; attempt < 8; ++attempt) {
    if (region.installer().Revoke(range) >= 0) return;
  }
}

unsigned PageInLeaf(Gpa gpa) { return static_cast<unsigned>(gpa.value % kLeafSpan.value / kPageSize.value); }

}  // namespace

void RevokePage(const Region& region, Gpa gpa) noexcept {
  const HvaRange granule{region.ToHva(AlignDown(gpa, region.granule())), region.granule()};
  bool present = false;
  if (LeafTable* leaf = region.shadow().Find(region.shadow().IndexOf(gpa))) {
    MutexLock<LeafMutex> lock(leaf->lock());
    present = leaf->PresentLocked(PageInLeaf(gpa));
  }
  if (present) {
    region.installer().Wake(granule);
  } else {
    RevokeRange(region, granule);
  }
}

void RevokeClaimed(const Region& region) noexcept {
  ShadowTable& shadow = region.shadow();
  for (size_t i = 0; i < shadow.leaf_count(); ++i) {
    LeafTable* leaf = shadow.Find(i);
    if (leaf == nullptr) continue;
    PageBitmap claimed;
    bool any = false;
    {
      MutexLock<LeafMutex> lock(leaf->lock());
      any = leaf->AnyFillingLocked();
      if (any) claimed = leaf->filling_locked();
    }
    if (!any) continue;
    for (unsigned page = 0; page < kPagesPerLeaf;) {
      unsigned end = page;
      while (end < kPagesPerLeaf && claimed.Test(end)) ++end;
      if (end == page) {
        ++page;
        continue;
      }
      RevokeRange(region, {region.ToHva(leaf->base() + kPageSize * page), kPageSize * (end - page)});
      page = end;
    }
  }
}

}  // namespace faultline
