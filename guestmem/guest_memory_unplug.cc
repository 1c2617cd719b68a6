// Unplugging: dead mark, revocation, slot deletion, scan, discard; and the way back when the slot stays.

#include <algorithm>

#include "guestmem/clock.h"
#include "guestmem/error.h"
#include "guestmem/guest_memory_impl.h"
#include "guestmem/revoke.h"

namespace faultline {
namespace {

// Pages given back in one call: long enough to be cheap, short enough that nobody waits for it.
constexpr size_t kDiscardLeaves = 8;

}  // namespace

UnplugReport GuestMemory::Unplug(RegionId id, const UnplugOptions& options) { return impl_->Unplug(id, options); }

UnplugReport GuestMemory::Impl::Unplug(RegionId id, const UnplugOptions& options) {
  std::shared_ptr<PinGate> pins;
  std::string name;
  {
    MutexLock<ControlMutex> control(control_);
    const auto it = owned_.find(id);
    if (it == owned_.end() || it->second == nullptr) {
      throw UsageError("there is no memory region with id " + std::to_string(id.value) + " (unplugged already?)");
    }
    pins = it->second->memory().pins;
    name = it->second->memory().name;
  }
  // Waiting for pins holds nothing that a plug, an unplug or a fault elsewhere needs.
  const std::string pinned_by = pins->CloseBy(std::chrono::steady_clock::now() + options.pin_deadline);
  if (!pinned_by.empty()) {
    throw Error("memory '" + name + "' is pinned by " + pinned_by +
                ": wait for its I/O to finish and try again, or allow a longer time");
  }

  MutexLock<ControlMutex> control(control_);
  const auto it = owned_.find(id);
  if (it == owned_.end() || it->second == nullptr) {
    pins->Open();  // the region may live on under another id, with the same gate
    throw UsageError("memory '" + name + "' was unplugged by someone else meanwhile");
  }
  Region& region = *it->second;

  // Everything that may fail for want of memory comes before the dead mark.
  RollBack roll_back;
  std::unique_ptr<RegionMap::Snapshot> regions_without;
  std::vector<bool> populated;
  try {
    regions_without = regions_.PrepareErase(&region);
    roll_back.successor = std::make_unique<Region>(RegionId{next_id_++}, region.memory());
    roll_back.regions = regions_.PrepareReplace(&region, roll_back.successor.get());
    roll_back.ranges_without = ranges_.PrepareErase(&region);
    roll_back.ranges_with = ranges_.PrepareReplace(&region, roll_back.successor.get());
    populated.resize(region.shadow().leaf_count());
    owned_.reserve(owned_.size() + 1);
  } catch (...) {
    pins->Open();
    throw;
  }

  UnplugReport report;
  const uint64_t began = NowNs();
  listener_.OnRevoke(region.View());
  region.AdvanceLife(RegionLife::kDying);
  Observe(observer_, ProtocolStep::kDeadMarked, id);
  regions_.Commit(std::move(regions_without));
  Observe(observer_, ProtocolStep::kUnpublished, id);
  RevokeClaimed(region);
  Observe(observer_, ProtocolStep::kRevoked, id);
  const uint64_t revoked = NowNs();
  try {
    listener_.OnUnmap(region.View());
  } catch (const std::exception& e) {
    UndoUnplug(region, std::move(roll_back));
    throw Error("memory '" + name + "' stays plugged: " + e.what());
  }
  Observe(observer_, ProtocolStep::kSlotDeleted, id);
  const uint64_t unmapped = NowNs();
  report.tables = ScanAndDetach(region, populated);
  const uint64_t scanned = NowNs();
  DiscardPages(region, populated, report);
  Observe(observer_, ProtocolStep::kDiscarded, id);
  const uint64_t discarded = NowNs();

  ForgetParked(region.gpa());
  ranges_.Commit(std::move(roll_back.ranges_without));
  region.AdvanceLife(RegionLife::kDead);
  Observe(observer_, ProtocolStep::kRegionDead, id);
  domain_.Retire(std::move(it->second));  // unmaps the host range when no reader can hold it
  owned_.erase(it);

  report.revoke_ns = revoked - began;
  report.slot_delete_ns = unmapped - revoked;
  report.scan_ns = scanned - unmapped;
  report.discard_ns = discarded - scanned;
  report.total_ns = NowNs() - began;
  return report;
}

uint64_t GuestMemory::Impl::ScanAndDetach(const Region& region, std::vector<bool>& populated) noexcept {
  ShadowTable& shadow = region.shadow();
  uint64_t tables = 0;
  TableLimbo::Batch batch;
  for (size_t i = 0; i < shadow.leaf_count(); ++i) {
    std::unique_ptr<LeafTable> leaf = shadow.Detach(i);
    if (leaf == nullptr) continue;
    ++tables;
    {
      MutexLock<LeafMutex> lock(leaf->lock());
      if (leaf->population_locked() > 0) populated[i] = true;
      leaf->RetireServiceLocked();
    }
    Observe(observer_, ProtocolStep::kLeafDetached, region.id());
    batch.Add(std::move(leaf));
  }
  limbo_.Put(std::move(batch));
  return tables;
}

void GuestMemory::Impl::DiscardPages(const Region& region, const std::vector<bool>& populated,
                                     UnplugReport& report) noexcept {
  const ShadowTable& shadow = region.shadow();
  for (size_t i = 0; i < populated.size();) {
    if (!populated[i]) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < populated.size() && populated[end] && end - i < kDiscardLeaves) ++end;
    const Gpa first = std::max(shadow.BaseOf(i), region.gpa().start);
    const Gpa last = std::min(shadow.BaseOf(end), region.gpa().end());
    const HvaRange part{region.ToHva(first), last - first};
    // A refusal is not the end of it: the pages also go with the mapping, after the grace period.
    const int result = region.memory().backing->Discard(part);
    if (result < 0 && report.discard_error == 0) report.discard_error = -result;
    report.discarded += part.size;
    i = end;
  }
}

void GuestMemory::Impl::UndoUnplug(Region& region, RollBack roll_back) noexcept {
  Region& successor = *roll_back.successor;
  // Nothing was discarded yet, so the leaves with all they describe pass to the successor.
  ShadowTable& shadow = region.shadow();
  for (size_t i = 0; i < shadow.leaf_count(); ++i) {
    if (LeafTable* leaf = shadow.Find(i)) {
      MutexLock<LeafMutex> lock(leaf->lock());
      leaf->TransferLocked(&successor);
    }
  }
  // Readers that still see the dying region may revoke pages of it: wait for them before access is restored.
  ranges_.Commit(std::move(roll_back.ranges_without));
  region.AdvanceLife(RegionLife::kDead);
  domain_.Barrier();
  for (unsigned attempt = 0; attempt < 8 && region.installer().Restore(region.hva()) < 0; ++attempt) {
  }
  // In this order: a slow source asked for a fault of the host range is looked for in the guest's.
  regions_.Commit(std::move(roll_back.regions));
  ranges_.Commit(std::move(roll_back.ranges_with));
  region.pins().Open();
  region.installer().Wake(region.hva());
  listener_.OnRestore(region.id(), successor.View());
  const auto it = owned_.find(region.id());
  const RegionId new_id = successor.id();
  auto node = owned_.extract(it);
  domain_.Retire(std::move(node.mapped()));
  node.key() = new_id;
  node.mapped() = std::move(roll_back.successor);
  owned_.insert(std::move(node));
}

}  // namespace faultline
