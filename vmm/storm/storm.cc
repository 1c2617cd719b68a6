// RunStorm: puts the parts together, watches over them while they run, and does the last checks.
#include "vmm/storm/storm.h"

#include <future>
#include <memory>
#include <random>
#include <thread>
#include <utility>

#include "guestmem/clock.h"
#include "guestmem/error.h"
#include "vmm/storm/churn.h"
#include "vmm/storm/control_block.h"
#include "vmm/storm/engine.h"
#include "vmm/storm/host_charge.h"
#include "vmm/storm/plan.h"
#include "vmm/storm/tracking_listener.h"
#include "vmm/storm/watch.h"

namespace faultline {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds kWatchInterval{50};
constexpr milliseconds kProgressInterval{200};
constexpr std::chrono::seconds kSlowestSource{10};
constexpr unsigned kMaxSamples = 600;

StormQuantiles Quantiles(const LatencyHistogram& histogram) {
  return {histogram.Quantile(0.5), histogram.Quantile(0.99), histogram.Quantile(0.999), histogram.max()};
}

uint64_t ChooseSeed(uint64_t wanted) {
  std::random_device entropy;
  while (wanted == 0) wanted = uint64_t{entropy()} << 32 | entropy();
  return wanted;
}

// How long the source takes for a page: what a fault may have to wait for it.
nanoseconds MeasureSource(const std::shared_ptr<PageSource>& source) {
  if (!source->may_block()) return nanoseconds(0);
  const auto begun = Clock::now();
  // On a thread of its own, which is left behind if the source takes for ever.
  std::packaged_task<int()> read([source] {
    std::vector<std::byte> page(kPageSize.value);
    return source->Read(Bytes(0), page);
  });
  std::future<int> result = read.get_future();
  std::thread(std::move(read)).detach();
  if (result.wait_for(kSlowestSource) != std::future_status::ready) {
    throw Error("the storm's page source needs more than 10 s for a page: choose a faster --source");
  }
  if (const int error = result.get(); error != 0) {
    throw Error("the storm's page source cannot be read (" + ErrnoText(-error) + "): choose another --source");
  }
  return Clock::now() - begun;
}

// Each vCPU's word of each page, as the source has it.
std::vector<uint64_t> InitialWords(PageSource& source, const StormPlan& plan) {
  std::vector<uint64_t> words;
  std::vector<uint64_t> page(kPageSize.value / sizeof(uint64_t));
  const uint64_t pages = plan.slot_size / kPageSize;
  words.reserve(pages * plan.vcpus);
  for (uint64_t i = 0; i < pages; ++i) {
    if (const int error = source.Read(kPageSize * i, std::as_writable_bytes(std::span(page))); error != 0) {
      throw Error("the storm's page source cannot be read (" + ErrnoText(-error) + "): choose another --source");
    }
    words.insert(words.end(), page.begin(), page.begin() + plan.vcpus);
  }
  return words;
}

// Everything of one storm. Destroyed last to first: vCPUs have stopped, then churn, memory, engine.
class Storm {
 public:
  Storm(Host& host, const StormOptions& options)
      : options_(options),
        from_file_(options.source.starts_with("file:")),
        plan_(StormPlan::For(options, from_file_)),
        source_(ParsePageSource(host, options.source)),
        charge_(host) {
    options_.seed = ChooseSeed(options.seed);
    // A fault may queue behind one of each other vCPU at the source.
    patience_ = options.stuck_after + MeasureSource(source_) * (plan_.vcpus + 2);
    engine_ = options.engine == StormEngineKind::kKvm ? MakeKvmEngine(host, plan_) : MakeThreadsEngine(plan_);
    listener_ = std::make_unique<TrackingListener>(engine_->listener(), plan_);
    GuestMemoryOptions memory_options;
    memory_options.fault_around = ParseFaultAround(options.fault_around);
    memory_ = std::make_unique<GuestMemory>(host, *listener_, memory_options);
    memory_->SetFailureHandler([this](const GuestMemory::FaultFailure& failure) { OnFaultFailure(failure); });
    control_ = std::make_unique<ControlBlock>(engine_->Prepare(*memory_), plan_, options.pattern, options_.seed,
                                              from_file_ ? InitialWords(*source_, plan_) : std::vector<uint64_t>());
    churn_ = std::make_unique<Churn>(
        Churn::Parts{memory_.get(), engine_.get(), listener_.get(), control_.get(), &charge_, source_}, plan_, options_,
        patience_);
  }
  ~Storm() {
    control_->Stop();
    // A vCPU that cannot end would block its engine's destructor for ever: see Abandoned.
    engine_->Stop(Clock::now() + patience_);
  }
  Storm(const Storm&) = delete;
  Storm& operator=(const Storm&) = delete;

  void Run();
  StormResult Result();
  // True if something hangs, so that this object must never be destroyed.
  bool Abandoned() const { return hung_; }

 private:
  void OnFaultFailure(const GuestMemory::FaultFailure& failure);
  void Watch();
  void Finish();
  StormProgress Progress(Clock::time_point now);
  void Fail(std::string sentence);
  std::string FirstFailure() const;
  bool Interrupted() const { return options_.interrupted != nullptr && *options_.interrupted; }

  StormOptions options_;
  const bool from_file_;
  const StormPlan plan_;
  std::shared_ptr<PageSource> source_;
  HostCharge charge_;
  nanoseconds patience_{};
  std::unique_ptr<StormEngine> engine_;
  std::unique_ptr<TrackingListener> listener_;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<ControlBlock> control_;
  std::unique_ptr<Churn> churn_;

  bool hung_ = false;
  std::atomic<bool> fault_failed_{false};
  Clock::time_point started_;
  nanoseconds ran_{};
  StormViolations violations_;
  TableTotals tables_;
  // What the vCPUs reported, taken before their block goes.
  struct {
    ControlBlock::Totals totals;
    StormQuantiles latency;
    std::vector<StormViolation> details;
  } seen_;
  std::vector<StormSample> samples_;
  Clock::time_point last_progress_{};
  uint64_t last_progress_faults_ = 0;

  mutable Mutex mutex_;
  std::string failure_ GUARDED_BY(mutex_);
};

void Storm::Fail(std::string sentence) {
  MutexLock lock(mutex_);
  if (failure_.empty()) failure_ = std::move(sentence);
}

std::string Storm::FirstFailure() const {
  {
    MutexLock lock(mutex_);
    if (!failure_.empty()) return failure_;
  }
  if (std::string failure = engine_->failure(); !failure.empty()) return failure;
  return churn_->failure();
}

void Storm::OnFaultFailure(const GuestMemory::FaultFailure& failure) {
  fault_failed_.store(true, std::memory_order_release);
  Fail(failure.host ? "the host could not give the storm a page (" + ErrnoText(failure.error) +
                          "): take fewer or smaller regions"
                    : "the storm's page source failed (" + ErrnoText(failure.error) + "): choose another --source");
}

void Storm::Run() {
  churn_->PlugAll();
  samples_.reserve(kMaxSamples + 1);
  started_ = Clock::now();
  last_progress_ = started_;
  engine_->Start();
  churn_->Start(started_);
  Watch();
  Finish();
}

// Samples the curves, reports progress, and looks after vCPUs that make none.
void Storm::Watch() {
  const auto end = started_ + options_.duration;
  const nanoseconds sample_interval = std::max<nanoseconds>(kWatchInterval, options_.duration / kMaxSamples);
  VcpuWatch vcpus(plan_.vcpus, patience_, started_);
  auto next_sample = started_ + sample_interval;
  uint64_t sampled_faults = 0;
  uint64_t sampled_unplugs = 0;
  for (auto now = Clock::now(); now < end; now = Clock::now()) {
    std::this_thread::sleep_for(std::min<nanoseconds>(kWatchInterval, end - now));
    now = Clock::now();
    if (now >= next_sample || now >= end) {
      const uint64_t faults = memory_->fault_totals().faults;
      const uint64_t unplugs = churn_->record().unplugs.load(std::memory_order_relaxed);
      samples_.push_back({now - started_, faults - sampled_faults, unplugs - sampled_unplugs});
      sampled_faults = faults;
      sampled_unplugs = unplugs;
      next_sample = now + sample_interval;
    }
    if (options_.progress && now - last_progress_ >= kProgressInterval) options_.progress(Progress(now));
    for (unsigned i = 0; i < plan_.vcpus; ++i) vcpus.Observe(i, control_->heartbeat(i), now);
    violations_.stuck_vcpus = vcpus.stuck();
    if (vcpus.stuck() != 0 || Interrupted() || !FirstFailure().empty()) break;
  }
  ran_ = Clock::now() - started_;
}

StormProgress Storm::Progress(Clock::time_point now) {
  StormProgress progress;
  progress.elapsed = now - started_;
  progress.duration = options_.duration;
  progress.faults = memory_->fault_totals().faults;
  progress.faults_per_second = static_cast<double>(progress.faults - last_progress_faults_) /
                               std::chrono::duration<double>(now - last_progress_).count();
  progress.unplugs = churn_->record().unplugs.load(std::memory_order_relaxed);
  progress.replugs = churn_->record().replugs.load(std::memory_order_relaxed);
  progress.violations = control_->totals().violations_total() + churn_->record().unreturned_bytes;
  last_progress_ = now;
  last_progress_faults_ = progress.faults;
  return progress;
}

// Everything stops, in an order that lets each finish; what does not is hung. Then the last checks.
void Storm::Finish() {
  churn_->RequestStop();
  if (!churn_->WaitStopped(Clock::now() + patience_)) {
    hung_ = true;
    Fail("an unplug did not end within " +
         std::to_string(std::chrono::duration_cast<std::chrono::seconds>(patience_).count()) + " s");
  }
  control_->Stop();
  if (!hung_ && fault_failed_.load(std::memory_order_acquire)) {
    // vCPUs wait for pages that do not come; without their memory they get away.
    try {
      churn_->UnplugAll();
    } catch (const Error& e) {
      Fail(e.what());
    }
  }
  if (!engine_->Stop(Clock::now() + (hung_ ? nanoseconds(milliseconds(500)) : patience_))) {
    hung_ = true;
    violations_.stuck_vcpus = std::max<uint64_t>(violations_.stuck_vcpus, 1);
  }
  tables_ = memory_->table_totals();
  seen_ = {control_->totals(), control_->guest_latency(engine_->ticks_per_second()), control_->violation_details()};
  if (hung_) return;

  churn_->CheckBooks();
  try {
    churn_->UnplugAll();
    engine_->Release(*memory_);
  } catch (const Error& e) {
    Fail(e.what());
    return;
  }
  memory_->DrainForTest();
  const TableTotals left = memory_->table_totals();
  const uint64_t accounted = left.freed + left.limbo + left.live;
  violations_.leaked_tables =
      left.live + (left.allocated > accounted ? left.allocated - accounted : accounted - left.allocated);
  violations_.unreturned_bytes = memory_->present_bytes().value;
}

StormResult Storm::Result() {
  StormResult result;
  result.options = options_;
  result.options.progress = nullptr;
  result.options.interrupted = nullptr;
  result.seconds = std::chrono::duration<double>(ran_).count();
  result.failure = FirstFailure();
  result.faults = memory_->fault_totals();
  memory_->MergeLatency(result.latency_histogram);
  result.latency = Quantiles(result.latency_histogram);
  result.guest_latency = seen_.latency;

  const ChurnRecord& record = churn_->record();
  result.unplugs = record.unplugs;
  result.unplugs_cooperative = record.cooperative;
  result.refusals = record.refusals;
  result.replugs = record.replugs;
  result.replugs_elsewhere = record.elsewhere;
  result.unplug = Quantiles(record.unplug);
  result.revoke = Quantiles(record.revoke);
  result.slot_delete = Quantiles(record.slot_delete);
  result.scan = Quantiles(record.scan);
  result.discard = Quantiles(record.discard);
  result.replug = Quantiles(record.replug);
  result.quiet_points = record.quiet_points;
  result.host_plugged = Bytes(record.plugged_bytes);
  result.host_charged = Bytes(record.charged_bytes);

  result.tables = tables_;
  const uint64_t linked = tables_.allocated + tables_.recycled;
  result.recycled_share = linked == 0 ? 0 : static_cast<double>(tables_.recycled) / static_cast<double>(linked);
  result.unplugged_accesses = engine_->unplugged_accesses();

  const ControlBlock::Totals& totals = seen_.totals;
  result.reads = totals.reads;
  result.writes = totals.writes;
  result.violations = violations_;
  result.violations.stale_reads = totals.violations[static_cast<unsigned>(storm_abi::ViolationKind::kStaleRead)];
  result.violations.lost_writes = totals.violations[static_cast<unsigned>(storm_abi::ViolationKind::kLostWrite)];
  result.violations.served_dead = totals.violations[static_cast<unsigned>(storm_abi::ViolationKind::kServedDead)];
  result.violations.unreturned_bytes += record.unreturned_bytes;
  result.violation_details = seen_.details;
  result.samples = samples_;
  result.spans = churn_->spans();
  return result;
}

}  // namespace

StormResult RunStorm(Host& host, const StormOptions& options) {
  ValidateStormOptions(options);
  auto storm = std::make_unique<Storm>(host, options);
  storm->Run();
  StormResult result = storm->Result();
  if (storm->Abandoned()) {
    // Threads that hang still use what they were given: it has to outlive them.
    static auto* const abandoned = new std::vector<std::unique_ptr<Storm>>;
    abandoned->push_back(std::move(storm));
  }
  return result;
}

}  // namespace faultline
