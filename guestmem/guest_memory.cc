#include "guestmem/guest_memory.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>

#include "guestmem/error.h"
#include "guestmem/guest_memory_impl.h"
#include "guestmem/hex.h"
#include "guestmem/revoke.h"

namespace faultline {
namespace {

constexpr unsigned kMaxShards = 8;

std::atomic<uint64_t> next_instance{1};

// For memory that no userfault guards: pages the kernel fills, or memory only reached through the facade.
class PlainInstaller final : public PageInstaller {
 public:
  explicit PlainInstaller(bool copy) : copy_(copy) {}
  Installed Copy(Hva to, const std::byte* from, Bytes size) noexcept override {
    if (copy_) memcpy(ToPointer(to), from, size.value);
    return {InstallResult::kInstalled, size};
  }
  void Wake(HvaRange /*range*/) noexcept override {}
  int Revoke(HvaRange /*range*/) noexcept override { return 0; }
  int Restore(HvaRange /*range*/) noexcept override { return 0; }

 private:
  const bool copy_;
};

}  // namespace

FaultAround ParseFaultAround(std::string_view text) {
  if (text == "auto") return {};
  uint64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  uint64_t scale = 0;
  if (unit.empty()) scale = 1;
  if (unit == "K" || unit == "KiB") scale = 1 << 10;
  if (unit == "M" || unit == "MiB") scale = 1 << 20;
  const bool fits = error == std::errc() && scale != 0 && n != 0 && n <= kLeafSpan.value / scale;
  const uint64_t pages = fits ? n * scale / kPageSize.value : 0;
  if (!fits || n * scale % kPageSize.value != 0 || !std::has_single_bit(pages)) {
    throw UsageError("fault-around '" + std::string(text) +
                     "' is not usable: give auto, or a power of two from 4K to 2M such as 64K");
  }
  return {static_cast<unsigned>(pages)};
}

GuestMemory::Impl::Impl(Host& host, RegionListener& listener, const GuestMemoryOptions& options,
                        ProtocolObserver* observer)
    : host_(host),
      listener_(listener),
      options_(options),
      observer_(observer),
      regions_(domain_),
      ranges_(domain_),
      limbo_(domain_, counters_, options.limbo_tables),
      handler_({domain_, regions_, limbo_, slow_fill_, *this, options.fault_around, observer}),
      instance_(next_instance.fetch_add(1, std::memory_order_relaxed)) {
  slow_fill_.Attach(handler_);
  {
    MutexLock lock(parked_mutex_);
    parked_.reserve(64);
  }
  if (options.userfault) {
    const unsigned cpus = static_cast<unsigned>(std::max(get_nprocs(), 1));
    const unsigned shards = options.shards != 0 ? options.shards : std::clamp(cpus / 2, 1U, kMaxShards);
    pool_ = std::make_unique<UserfaultPool>(host, domain_, ranges_, handler_,
                                            UserfaultPool::Options{shards, options.placement, options.reader_spin});
  }
  domain_.SetHousekeeping([this] { return limbo_.Expire(); });
}

GuestMemory::Impl::~Impl() {
  slow_fill_.Stop();
  pool_.reset();
  domain_.SetHousekeeping({});
  domain_.Barrier();  // housekeeping that was under way is over
}

std::shared_ptr<PageInstaller> GuestMemory::Impl::MakeInstaller(const Backing& backing, GpaRange gpa) {
  if (pool_ == nullptr) return std::make_shared<PlainInstaller>(/*copy=*/true);
  if (!backing.userfault_capable()) return std::make_shared<PlainInstaller>(/*copy=*/false);
  return pool_->Register(backing, gpa);
}

void GuestMemory::Impl::TakeTablesBack(const Region& region) noexcept {
  if (limbo_.size() == 0) return;
  ShadowTable& shadow = region.shadow();
  for (size_t i = 0; i < shadow.leaf_count(); ++i) {
    std::unique_ptr<LeafTable> table = limbo_.TakeBack(shadow.BaseOf(i));
    if (table == nullptr) continue;
    shadow.Link(i, std::move(table), region);
    Observe(observer_, ProtocolStep::kTableTakenBack, region.id());
  }
}

RegionId GuestMemory::Impl::Plug(const RegionSpec& spec) {
  const std::string what = "memory '" + spec.name + "'";
  if (spec.gpa.size == Bytes(0)) throw UsageError(what + " has size zero: give at least one 4 KiB page");
  if (!IsAligned(spec.gpa.start, kPageSize) || !IsAligned(spec.gpa.size, kPageSize)) {
    throw UsageError(what + " is not page-aligned: address and size must be multiples of 4 KiB");
  }
  if (!GpaRange::Make(spec.gpa.start, spec.gpa.size)) {
    throw UsageError(what + " reaches beyond the end of the address space: choose a lower address or a smaller size");
  }
  MutexLock<ControlMutex> control(control_);
  if (const auto* other = regions_.FindOverlap(spec.gpa)) {
    throw UsageError(what + " overlaps '" + other->value->memory().name + "' at " + Hex(other->range.start.value) +
                     ": choose another address");
  }
  Region::Memory memory;
  memory.name = spec.name;
  memory.gpa = spec.gpa;
  memory.backing_spec = spec.backing;
  memory.read_only = spec.read_only;
  memory.source = spec.source != nullptr ? spec.source : MakeZeroSource();
  memory.backing = Backing::Create(host_, spec.backing, spec.gpa.size);
  if (!IsAligned(spec.gpa.start, memory.backing->granule())) {
    throw UsageError(what + " must start at a multiple of its huge page size: choose a 2 MiB-aligned address");
  }
  memory.installer = MakeInstaller(*memory.backing, spec.gpa);
  memory.shadow = std::make_shared<ShadowTable>(spec.gpa, counters_);
  memory.pins = std::make_shared<PinGate>();
  const RegionId id{next_id_++};
  auto region = std::make_unique<Region>(id, std::move(memory));

  // All that can fail for want of memory, before anybody sees the region.
  auto regions_with = regions_.PrepareInsert(spec.gpa, region.get());
  auto regions_without = regions_.PrepareErase(region.get());
  auto ranges_with = ranges_.PrepareInsert(region->hva(), region.get());
  auto ranges_without = ranges_.PrepareErase(region.get());
  std::vector<bool> populated(region->shadow().leaf_count());
  const auto slot = owned_.emplace(id, nullptr).first;

  TakeTablesBack(*region);
  // Both maps before the listener maps it, and the guest's before the host's: the first access may fault
  // at once, and what a slow source brings for it finds its region by guest address.
  region->pins().CloseBy({});  // nobody may hold on to it before it is sure to stay
  regions_.Commit(std::move(regions_with));
  ranges_.Commit(std::move(ranges_with));
  Observe(observer_, ProtocolStep::kPublished, id);
  try {
    listener_.OnPlug(region->View());
  } catch (...) {
    region->AdvanceLife(RegionLife::kDying);
    regions_.Commit(std::move(regions_without));
    RevokeClaimed(*region);
    ScanAndDetach(*region, populated);
    ranges_.Commit(std::move(ranges_without));
    region->AdvanceLife(RegionLife::kDead);
    domain_.Retire(std::move(region));
    owned_.erase(slot);
    throw;
  }
  region->pins().Open();
  slot->second = std::move(region);
  return id;
}

Bytes GuestMemory::Impl::PresentBytes(const Region& region) noexcept {
  Bytes present;
  ShadowTable& shadow = region.shadow();
  for (size_t i = 0; i < shadow.leaf_count(); ++i) {
    if (const LeafTable* leaf = shadow.Find(i)) present += kPageSize * leaf->approx_population();
  }
  return present;
}

std::vector<RegionInfo> GuestMemory::Impl::Regions() const {
  MutexLock<ControlMutex> control(control_);
  std::vector<RegionInfo> out;
  for (const auto& entry : regions_.entries()) {
    const Region& region = *entry.value;
    const Region::Memory& m = region.memory();
    out.push_back({region.id(), m.name, m.gpa, m.backing_spec, PresentBytes(region), m.read_only, m.pins->count()});
  }
  return out;
}

void GuestMemory::Impl::OnParked(const FillClaim& claim, int error, bool host) noexcept {
  std::function<void(const FaultFailure&)> handler;
  bool kept = true;
  {
    MutexLock lock(parked_mutex_);
    try {
      parked_.push_back({claim, host});
      handler = failure_handler_;
    } catch (const std::bad_alloc&) {
      kept = false;
    }
  }
  if (!kept) {
    handler_.Unpark(claim);  // nobody would remember it: let it fault again
  } else if (handler) {
    handler({claim.gpa, error, host});
  }
}

void GuestMemory::Impl::SetFailureHandler(std::function<void(const FaultFailure&)> handler) {
  MutexLock lock(parked_mutex_);
  failure_handler_ = std::move(handler);
}

void GuestMemory::Impl::RetryFailedFaults() {
  std::vector<Parked> parked;
  {
    MutexLock lock(parked_mutex_);
    parked.swap(parked_);
  }
  for (const Parked& p : parked) handler_.Unpark(p.claim);
}

AccessResult GuestMemory::Impl::ParkedBecause(Gpa gpa) const noexcept {
  MutexLock lock(parked_mutex_);
  for (const Parked& p : parked_) {
    if (GpaRange{p.claim.gpa, kPageSize * p.claim.pages}.Contains(gpa)) {
      return p.host ? AccessResult::kHostError : AccessResult::kSourceError;
    }
  }
  return AccessResult::kOk;
}

void GuestMemory::Impl::ForgetParked(GpaRange range) noexcept {
  MutexLock lock(parked_mutex_);
  std::erase_if(parked_, [&](const Parked& p) { return range.Contains(p.claim.gpa); });
}

FaultStats& GuestMemory::Impl::StatsOfThisThread() noexcept {
  static thread_local uint64_t cached_instance = 0;
  static thread_local FaultStats* cached = nullptr;
  if (cached_instance == instance_) return *cached;
  MutexLock lock(stats_mutex_);
  try {
    std::unique_ptr<FaultStats>& mine = thread_stats_[std::this_thread::get_id()];
    if (mine == nullptr) mine = std::make_unique<FaultStats>();
    cached = mine.get();
    cached_instance = instance_;
    return *cached;
  } catch (const std::bad_alloc&) {
    return overflow_stats_;
  }
}

GuestMemory::GuestMemory(Host& host, RegionListener& listener, const GuestMemoryOptions& options,
                         ProtocolObserver* observer)
    : impl_(std::make_unique<Impl>(host, listener, options, observer)) {}
GuestMemory::~GuestMemory() = default;

RegionId GuestMemory::Plug(const RegionSpec& spec) { return impl_->Plug(spec); }
std::vector<RegionInfo> GuestMemory::Regions() const { return impl_->Regions(); }

bool GuestMemory::IsMapped(GpaRange range) const noexcept {
  RcuDomain::ReadGuard guard(impl_->domain_);
  Gpa at = range.start;
  while (at < range.end()) {
    const RegionMap::Entry* entry = impl_->regions_.Lookup(at);
    if (entry == nullptr) return false;
    at = entry->range.end();
  }
  return range.size > Bytes(0) && GpaRange::Make(range.start, range.size).has_value();
}

std::optional<RegionId> GuestMemory::FindRegion(Gpa gpa) const noexcept {
  RcuDomain::ReadGuard guard(impl_->domain_);
  const RegionMap::Entry* entry = impl_->regions_.Lookup(gpa);
  if (entry == nullptr) return std::nullopt;
  return entry->value->id();
}

FaultTotals GuestMemory::fault_totals() const {
  FaultTotals totals;
  if (impl_->pool_ != nullptr) impl_->pool_->AddTotals(totals);
  impl_->slow_fill_.AddTotals(totals);
  MutexLock lock(impl_->stats_mutex_);
  for (const auto& [thread, stats] : impl_->thread_stats_) totals.Add(*stats);
  totals.Add(impl_->overflow_stats_);
  return totals;
}

void GuestMemory::MergeLatency(LatencyHistogram& into) const {
  if (impl_->pool_ != nullptr) impl_->pool_->MergeLatency(into);
  impl_->slow_fill_.MergeLatency(into);
}

TableTotals GuestMemory::table_totals() const {
  const TableCounters& c = impl_->counters_;
  TableTotals totals;
  totals.allocated = c.allocated.load(std::memory_order_relaxed);
  totals.recycled = c.recycled.load(std::memory_order_relaxed);
  totals.freed = c.freed.load(std::memory_order_relaxed);
  totals.live = c.live.load(std::memory_order_relaxed);
  totals.limbo = impl_->limbo_.size();
  return totals;
}

Bytes GuestMemory::present_bytes() const {
  MutexLock<Impl::ControlMutex> control(impl_->control_);
  Bytes present;
  for (const auto& entry : impl_->regions_.entries()) present += Impl::PresentBytes(*entry.value);
  return present;
}

void GuestMemory::SetFailureHandler(std::function<void(const FaultFailure&)> handler) {
  impl_->SetFailureHandler(std::move(handler));
}
void GuestMemory::RetryFailedFaults() { impl_->RetryFailedFaults(); }

void GuestMemory::AwaitFreed() { impl_->domain_.Barrier(); }

void GuestMemory::DrainForTest() {
  impl_->limbo_.Clear();
  impl_->domain_.Barrier();
}

}  // namespace faultline
