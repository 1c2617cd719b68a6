#include "vmm/storm/churn.h"

#include <pthread.h>

#include <algorithm>
#include <cassert>

#include "guestmem/clock.h"
#include "guestmem/error.h"

namespace faultline {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using storm_abi::Phase;

constexpr size_t kMaxSpans = 50'000;
constexpr size_t kNoSpan = ~size_t{0};

void Count(std::atomic<uint64_t>& counter) { counter.fetch_add(1, std::memory_order_relaxed); }

// A handful of quiet points in a short storm, one every few seconds in a long one.
nanoseconds QuietInterval(const StormOptions& options) {
  return std::clamp<nanoseconds>(options.duration / 8, milliseconds(300), milliseconds(4000));
}

}  // namespace

Churn::Churn(const Parts& parts, const StormPlan& plan, const StormOptions& options, nanoseconds patience)
    : parts_(parts),
      plan_(plan),
      options_(options),
      patience_(patience),
      random_(options.seed ^ 0x636875726e),
      places_(plan.regions),
      slot_taken_(plan.slots) {
  MutexLock lock(mutex_);
  open_span_.assign(plan.regions, kNoSpan);
}

Churn::~Churn() {
  RequestStop();
  if (thread_.joinable()) thread_.join();
}

void Churn::PlugAll() {
  for (unsigned region = 0; region < plan_.regions; ++region) PlugRegion(region, region);
  parts_.control->SetFocus(places_[focus_].slot);
}

void Churn::Start(Clock::time_point storm_start) {
  storm_start_ = storm_start;
  {
    MutexLock lock(mutex_);
    stopped_ = false;
    for (StormSpan& span : spans_) span.from = nanoseconds(0);
  }
  thread_ = std::thread([this] { Main(); });
}

void Churn::RequestStop() {
  MutexLock lock(mutex_);
  stop_ = true;
  changed_.NotifyAll();
}

bool Churn::WaitStopped(Clock::time_point deadline) {
  MutexLock lock(mutex_);
  while (!stopped_) {
    if (!changed_.WaitUntil(mutex_, deadline)) return stopped_;
  }
  return true;
}

void Churn::SleepUntil(Clock::time_point when) {
  MutexLock lock(mutex_);
  while (!stop_ && changed_.WaitUntil(mutex_, when)) {
  }
}

void Churn::Main() {
  pthread_setname_np(pthread_self(), "churn");
  const nanoseconds quiet_interval = QuietInterval(options_);
  auto next_tick = Clock::now() + options_.churn;
  auto next_quiet = Clock::now() + quiet_interval;
  std::string failure;
  try {
    for (;;) {
      SleepUntil(next_tick);
      {
        MutexLock lock(mutex_);
        if (stop_) break;
      }
      Tick();
      const auto now = Clock::now();
      next_tick = std::max(next_tick + options_.churn, now);
      if (now >= next_quiet) {
        QuietPoint();
        next_quiet = Clock::now() + quiet_interval;
      }
    }
  } catch (const Error& e) {
    failure = e.what();
  }
  MutexLock lock(mutex_);
  failure_ = failure;
  stopped_ = true;
  changed_.NotifyAll();
}

// Regions that went down in the last interval come back, one goes; and sometimes that one comes back at
// once, before any grace period can have ended.
void Churn::Tick() {
  for (const unsigned region : to_replug_) PlugRegion(region, ChooseSlot(region));
  to_replug_.clear();

  const unsigned victim = ChooseVictim();
  const bool cooperative =
      options_.unplug == StormUnplug::kCooperative || (options_.unplug == StormUnplug::kMixed && random_.OneIn(2));
  if (!UnplugRegion(victim, cooperative)) return;
  if (random_.OneIn(4)) {
    PlugRegion(victim, places_[victim].slot);
  } else {
    to_replug_.push_back(victim);
  }
}

unsigned Churn::ChooseVictim() {
  if (options_.pattern == StormPattern::kSameLeaf && !random_.OneIn(8)) return focus_;
  return random_.Below(plan_.regions);
}

unsigned Churn::ChooseSlot(unsigned region) {
  const unsigned last = places_[region].slot;
  if (!random_.OneIn(4)) return last;
  unsigned slot = random_.Below(plan_.slots);
  while (slot_taken_[slot]) slot = (slot + 1) % plan_.slots;
  return slot;
}

bool Churn::UnplugRegion(unsigned region, bool cooperative) {
  Place& place = places_[region];
  assert(place.plugged);
  if (cooperative) {
    const auto answer = parts_.control->AskToLeave(place.slot, Clock::now() + patience_);
    if (answer != ControlBlock::Answer::kAllLeft) {
      parts_.control->Withdraw();
      Count(record_.refusals);
      return false;
    }
  }

  const HvaRange hva = parts_.listener->Where(place.slot);
  parts_.control->Publish(place.slot, place.incarnation, Phase::kUnplugging);
  const UnplugReport report = parts_.memory->Unplug(place.id);
  parts_.control->Publish(place.slot, place.incarnation, Phase::kUnplugged);
  const Bytes left_over = parts_.charge->InRemains(hva);
  if (cooperative) parts_.control->Withdraw();

  place.plugged = false;
  slot_taken_[place.slot] = false;
  record_.unreturned_bytes.fetch_add(left_over.value, std::memory_order_relaxed);
  record_.unplug.Record(report.total_ns);
  record_.revoke.Record(report.revoke_ns);
  record_.slot_delete.Record(report.slot_delete_ns);
  record_.scan.Record(report.scan_ns);
  record_.discard.Record(report.discard_ns);
  Count(record_.unplugs);
  if (cooperative) Count(record_.cooperative);

  MutexLock lock(mutex_);
  if (open_span_[region] != kNoSpan) spans_[open_span_[region]].to = SinceStart();
  open_span_[region] = kNoSpan;
  return true;
}

void Churn::PlugRegion(unsigned region, unsigned slot) {
  Place& place = places_[region];
  assert(!place.plugged && !slot_taken_[slot]);
  if (incarnations_ == storm_abi::kMaxIncarnation) {
    throw Error("the storm has plugged memory 16 million times, as often as its stamps can tell apart: start another");
  }
  const uint64_t incarnation = ++incarnations_;
  const bool again = place.incarnation != 0;

  RegionSpec spec;
  spec.name = "storm" + std::to_string(region);
  spec.gpa = plan_.SlotRange(slot);
  spec.source = parts_.source;
  parts_.control->Publish(slot, incarnation, Phase::kPlugging);
  const uint64_t begun = NowNs();
  const RegionId id = parts_.memory->Plug(spec);
  const uint64_t took = NowNs() - begun;
  parts_.control->Publish(slot, incarnation, Phase::kPlugged);

  if (again) {
    record_.replug.Record(took);
    Count(record_.replugs);
    if (slot != place.slot) Count(record_.elsewhere);
  }
  place = {id, slot, incarnation, true};
  slot_taken_[slot] = true;
  if (region == focus_) parts_.control->SetFocus(slot);

  MutexLock lock(mutex_);
  if (spans_.size() < kMaxSpans) {
    open_span_[region] = spans_.size();
    spans_.push_back({slot, region, incarnation, SinceStart(), nanoseconds(-1)});
  }
}

void Churn::QuietPoint() {
  if (parts_.control->Pause(Clock::now() + patience_)) CheckBooks();
  parts_.control->Resume();
}

// A page that a slow source brings after its vCPU had been answered may still be on its way into memory or
// books, so a difference counts only if it lasts.
void Churn::CheckBooks() {
  const auto deadline = Clock::now() + std::min<nanoseconds>(patience_, std::chrono::seconds(2));
  uint64_t difference = 0;
  do {
    uint64_t booked = 0;
    uint64_t plugged = 0;
    uint64_t boot = 0;
    for (const RegionInfo& region : parts_.memory->Regions()) {
      if (!plan_.window.Contains(region.gpa)) {
        boot += region.gpa.size.value;
        continue;
      }
      booked += region.present.value;
      plugged += region.gpa.size.value;
    }
    uint64_t charged = 0;
    for (unsigned slot = 0; slot < plan_.slots; ++slot) {
      const HvaRange hva = parts_.listener->Where(slot);
      if (hva.size.value != 0) charged += parts_.charge->In(hva).value;
    }
    const uint64_t mapped = parts_.engine->mapped_bytes().value;
    difference = (booked > charged ? booked - charged : charged - booked) +
                 (plugged + boot > mapped ? plugged + boot - mapped : mapped - plugged - boot);
    record_.plugged_bytes.store(plugged, std::memory_order_relaxed);
    record_.charged_bytes.store(charged, std::memory_order_relaxed);
    if (difference != 0) std::this_thread::sleep_for(milliseconds(5));
  } while (difference != 0 && Clock::now() < deadline);
  record_.unreturned_bytes.fetch_add(difference, std::memory_order_relaxed);
  Count(record_.quiet_points);
}

void Churn::UnplugAll() {
  for (Place& place : places_) {
    if (!place.plugged) continue;
    const HvaRange hva = parts_.listener->Where(place.slot);
    parts_.control->Publish(place.slot, place.incarnation, Phase::kUnplugging);
    parts_.memory->Unplug(place.id);
    parts_.control->Publish(place.slot, place.incarnation, Phase::kUnplugged);
    place.plugged = false;
    slot_taken_[place.slot] = false;
    record_.unreturned_bytes.fetch_add(parts_.charge->InRemains(hva).value, std::memory_order_relaxed);
  }
}

std::vector<StormSpan> Churn::spans() const {
  const auto now = SinceStart();
  MutexLock lock(mutex_);
  std::vector<StormSpan> spans = spans_;
  for (StormSpan& span : spans) {
    if (span.to < nanoseconds(0)) span.to = now;
  }
  return spans;
}

std::string Churn::failure() const {
  MutexLock lock(mutex_);
  return failure_;
}

}  // namespace faultline
