// Stands between guest memory and the engine's listener and remembers where each plugged region of the
// storm's window lies in this process.
//
// Called under guest memory's control lock; Where is for the thread that plugs and unplugs.
#pragma once

#include <vector>

#include "guestmem/listener.h"
#include "vmm/storm/plan.h"

namespace faultline {

class TrackingListener final : public RegionListener {
 public:
  TrackingListener(RegionListener& next, const StormPlan& plan) : next_(&next), plan_(plan), hva_(plan.slots) {}

  void OnPlug(const RegionView& region) override {
    next_->OnPlug(region);
    if (plan_.window.Contains(region.gpa)) hva_[plan_.SlotOf(region.gpa.start)] = region.hva;
  }
  void OnRevoke(const RegionView& region) noexcept override { next_->OnRevoke(region); }
  void OnUnmap(const RegionView& region) override {
    next_->OnUnmap(region);
    if (plan_.window.Contains(region.gpa)) hva_[plan_.SlotOf(region.gpa.start)] = HvaRange{};
  }
  void OnRestore(RegionId old_id, const RegionView& region) noexcept override { next_->OnRestore(old_id, region); }

  // Empty when nothing is plugged there.
  HvaRange Where(unsigned slot) const { return hva_[slot]; }

 private:
  RegionListener* next_;
  const StormPlan plan_;
  std::vector<HvaRange> hva_;
};

}  // namespace faultline
