// The parts of GuestMemory and how they are wired. Private to guestmem; guest_memory.cc plugs,
// guest_memory_unplug.cc unplugs, guest_memory_access.cc serves devices, guest_memory_discard.cc gives single
// pages back, guest_memory_residency.cc tells where pages are.
#pragma once

#include <unordered_map>

#include "guestmem/fault_handler.h"
#include "guestmem/guest_memory.h"
#include "guestmem/mutex.h"
#include "guestmem/rcu_domain.h"
#include "guestmem/region.h"
#include "guestmem/region_map.h"
#include "guestmem/slow_fill.h"
#include "guestmem/table_limbo.h"
#include "guestmem/userfault_pool.h"

namespace faultline {

class GuestMemory::Impl final : public FailureSink {
 public:
  Impl(Host& host, RegionListener& listener, const GuestMemoryOptions& options, ProtocolObserver* observer);
  ~Impl() override;

  RegionId Plug(const RegionSpec& spec) EXCLUDES(control_);
  UnplugReport Unplug(RegionId id, const UnplugOptions& options) EXCLUDES(control_);

  // body(std::byte* at, size_t offset, size_t size) for each piece of a page, under its leaf lock.
  template <class Body>
  AccessResult Access(Gpa gpa, size_t size, bool write, Body&& body) noexcept;
  Pin PinRange(GpaRange range, bool for_write, std::string_view owner, AccessResult* why) noexcept;

  DiscardReport Discard(GpaRange range) noexcept;
  // The part of one leaf table, inside a read section.
  void DiscardInLeaf(const Region& region, GpaRange part, DiscardReport& report) noexcept;

  std::vector<RegionInfo> Regions() const EXCLUDES(control_);
  ResidencyMap Residency(GpaRange range, size_t cells) const EXCLUDES(control_);

  void OnParked(const FillClaim& claim, int error, bool host) noexcept override EXCLUDES(parked_mutex_);
  void SetFailureHandler(std::function<void(const FaultFailure&)> handler) EXCLUDES(parked_mutex_);
  void RetryFailedFaults() EXCLUDES(parked_mutex_);
  // Why the page at `gpa` is parked, or kOk.
  AccessResult ParkedBecause(Gpa gpa) const noexcept EXCLUDES(parked_mutex_);
  // Forgets what is parked in a region that is gone.
  void ForgetParked(GpaRange range) noexcept EXCLUDES(parked_mutex_);

  FaultStats& StatsOfThisThread() noexcept EXCLUDES(stats_mutex_);

 private:
  friend class GuestMemory;

  using ControlMutex = RankedMutex<LockRank::kControl>;

  std::shared_ptr<PageInstaller> MakeInstaller(const Backing& backing, GpaRange gpa);
  void TakeTablesBack(const Region& region) noexcept REQUIRES(control_);
  // Unlinks and empties every leaf of `region`, which has no users left; `populated` gets a mark for each
  // leaf that held pages. Returns the number of tables.
  uint64_t ScanAndDetach(const Region& region, std::vector<bool>& populated) noexcept REQUIRES(control_);
  void DiscardPages(const Region& region, const std::vector<bool>& populated, UnplugReport& report) noexcept
      REQUIRES(control_);

  // What an unplug needs if it has to be undone, allocated before the point of no return.
  struct RollBack {
    std::unique_ptr<Region> successor;
    std::unique_ptr<RegionMap::Snapshot> regions;
    std::unique_ptr<HostRangeMap::Snapshot> ranges_without;
    std::unique_ptr<HostRangeMap::Snapshot> ranges_with;
  };
  void UndoUnplug(Region& region, RollBack roll_back) noexcept REQUIRES(control_);
  static Bytes PresentBytes(const Region& region) noexcept;

  Host& host_;
  RegionListener& listener_;
  const GuestMemoryOptions options_;
  ProtocolObserver* const observer_;

  TableCounters counters_;
  RcuDomain domain_;
  RegionMap regions_;
  HostRangeMap ranges_;
  TableLimbo limbo_;
  SlowFill slow_fill_;
  FaultHandler handler_;

  mutable ControlMutex control_;
  std::unordered_map<RegionId, std::unique_ptr<Region>> owned_ GUARDED_BY(control_);
  uint64_t next_id_ GUARDED_BY(control_) = 1;

  struct Parked {
    FillClaim claim;
    bool host;
  };
  mutable Mutex parked_mutex_;
  std::vector<Parked> parked_ GUARDED_BY(parked_mutex_);
  std::function<void(const FaultFailure&)> failure_handler_ GUARDED_BY(parked_mutex_);

  const uint64_t instance_;  // tells instances apart in a thread's cache
  mutable Mutex stats_mutex_;
  std::unordered_map<std::thread::id, std::unique_ptr<FaultStats>> thread_stats_ GUARDED_BY(stats_mutex_);
  FaultStats overflow_stats_;  // shared, and so inexact, for threads that found no memory for their own

  std::unique_ptr<UserfaultPool> pool_;  // last: its threads use everything above
};

}  // namespace faultline
