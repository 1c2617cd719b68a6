#include "vmm/builtin_guest/job.h"

#include "vmm/builtin_guest/atomic.h"
#include "vmm/builtin_guest/memory_access.h"
#include "vmm/builtin_guest/memory_map.h"
#include "vmm/builtin_guest/payload.h"

namespace faultline::guest {
namespace {

// What one vCPU takes at a time: the span of one leaf table, so that vCPUs fault in different ones.
constexpr uint64_t kChunk = 2ULL << 20;
// vCPU 0 looks at the hot-plug registers once for this many of its own chunks.
constexpr unsigned kChunksPerPoll = 16;
constexpr unsigned kSpinsBeforeIdle = 1000;

// The one job. `request` and the plain results are written by vCPU 0 while `open` is false and no helper is
// inside (`helpers` is 0). A helper announces itself in `helpers` and then looks at `open`; vCPU 0 clears `open`
// and then looks at `helpers`. All four accesses are sequentially consistent, so either the helper sees the
// job closed or vCPU 0 sees the helper and waits for it.
struct Job {
  Atomic<bool> open;
  Atomic<uint32_t> helpers;

  JobRequest request = {};
  Atomic<uint64_t> next;  // start of the next chunk that nobody has taken
  Atomic<bool> stop;

  Atomic<uint64_t> good_pages;
  Atomic<uint64_t> zero_pages;
  Atomic<uint64_t> wrong_pages;
  Atomic<uint64_t> vanished_at;
  Atomic<uint32_t> cpus;
  Atomic<uint32_t> mismatches;
  Mismatch reported[kReportedMismatches] = {};
};
constinit Job job;
constinit bool missed_wake = false;

enum class PageOutcome : uint8_t { kGood, kZero, kWrong, kVanished };

uint64_t PatternWord(uint64_t address, uint64_t seed) { return (address ^ seed) * 0x9e3779b97f4a7c15; }

// The pattern is chosen so that an empty bus cannot be mistaken for it.
bool LooksAbsent(uint64_t found, uint64_t expected) { return found == kAllOnes && expected != kAllOnes; }

PageOutcome FillPage(uint64_t page, uint64_t seed) {
  const uint64_t first = PatternWord(page, seed);
  Store(page, first);
  // Without this look, filling memory that is gone would take an exit for each of its words.
  if (LooksAbsent(Load(page), first)) return PageOutcome::kVanished;
  for (uint64_t i = 1; i < kWordsPerPage; ++i) {
    const uint64_t address = page + i * sizeof(uint64_t);
    Store(address, PatternWord(address, seed));
  }
  return PageOutcome::kGood;
}

PageOutcome CheckPage(uint64_t page, uint64_t seed) {
  for (uint64_t i = 0; i < kWordsPerPage; ++i) {
    const uint64_t address = page + i * sizeof(uint64_t);
    const uint64_t expected = PatternWord(address, seed);
    const uint64_t found = Load(address);
    if (found == expected) continue;
    if (i == 0 && LooksAbsent(found, expected)) return PageOutcome::kVanished;
    if (i == 0 && found == 0) return PageOutcome::kZero;
    const uint32_t n = job.mismatches.Add(1);
    if (n < kReportedMismatches) job.reported[n] = {address, expected, found};
    return PageOutcome::kWrong;
  }
  return PageOutcome::kGood;
}

PageOutcome WalkPage(uint64_t page) { return Load(page) == kAllOnes ? PageOutcome::kVanished : PageOutcome::kGood; }

PageOutcome DoPage(uint64_t page) {
  switch (job.request.operation) {
    case Operation::kFill:
      return FillPage(page, job.request.seed);
    case Operation::kCheck:
      return CheckPage(page, job.request.seed);
    case Operation::kWalk:
      return WalkPage(page);
  }
  __builtin_unreachable();
}

// False when there is no chunk left.
bool DoChunk() {
  if (job.stop.LoadRelaxed()) return false;
  const uint64_t end = job.request.start + job.request.size;
  const uint64_t from = job.next.Add(kChunk);
  if (from >= end) return false;
  const uint64_t to = end - from < kChunk ? end : from + kChunk;
  uint64_t good = 0;
  uint64_t zero = 0;
  uint64_t wrong = 0;
  for (uint64_t page = from; page < to && !job.stop.LoadRelaxed(); page += kPageBytes) {
    switch (DoPage(page)) {
      case PageOutcome::kGood:
        ++good;
        break;
      case PageOutcome::kZero:
        ++zero;
        break;
      case PageOutcome::kWrong:
        ++wrong;
        break;
      case PageOutcome::kVanished: {
        job.vanished_at.Replace(0, page);
        job.stop.Store(true);
        break;
      }
    }
  }
  job.good_pages.Add(good);
  job.zero_pages.Add(zero);
  job.wrong_pages.Add(wrong);
  return true;
}

void WaitForHelpers() {
  for (unsigned spins = 0; job.helpers.Load() != 0; ++spins) {
    if (spins < kSpinsBeforeIdle) {
      CpuRelax();
    } else if (IdleWait()) {
      missed_wake = true;
    }
  }
}

// True when there was something to help with.
bool Help() {
  job.helpers.Add(1);
  bool helped = false;
  if (job.open.Load()) {
    while (DoChunk()) {
      if (!helped) job.cpus.Add(1);
      helped = true;
    }
  }
  // The last one out wakes vCPU 0, which may have gone idle waiting for it.
  if (job.helpers.Subtract(1) == 1 && helped) WakeAll();
  return helped;
}

}  // namespace

void RunJob(const JobRequest& request, JobResult& result) {
  job.request = request;
  job.next.Store(request.start);
  job.stop.Store(false);
  job.good_pages.Store(0);
  job.zero_pages.Store(0);
  job.wrong_pages.Store(0);
  job.vanished_at.Store(0);
  job.cpus.Store(1);
  job.mismatches.Store(0);
  job.open.Store(true);
  if (mailbox().cpu_count > 1 && request.size > kChunk) WakeAll();

  bool cancelled = false;
  for (unsigned chunks = 1; DoChunk(); ++chunks) {
    if (ShutdownRequested()) {
      cancelled = true;
      job.stop.Store(true);
    }
    if (chunks % kChunksPerPoll == 0) PollSlots();
  }
  job.open.Store(false);
  WaitForHelpers();

  result.good_pages += job.good_pages.Load();
  result.zero_pages += job.zero_pages.Load();
  result.wrong_pages += job.wrong_pages.Load();
  result.vanished_at = job.vanished_at.Load();
  result.cancelled = cancelled;
  if (job.cpus.Load() > result.cpus) result.cpus = job.cpus.Load();
  const uint32_t found = job.mismatches.Load();
  const uint32_t reported = found < kReportedMismatches ? found : kReportedMismatches;
  for (uint32_t i = 0; i < reported && result.mismatch_count < kReportedMismatches; ++i) {
    result.mismatches[result.mismatch_count++] = job.reported[i];
  }
}

void HelperLoop() {
  for (;;) {
    if (!Help()) IdleWait();
  }
}

bool TakeMissedWake() {
  const bool missed = missed_wake;
  missed_wake = false;
  return missed;
}

}  // namespace faultline::guest
