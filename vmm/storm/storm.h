// The fault storm: vCPUs write and verify stamps all over memory that is unplugged and re-plugged under
// them, and the books are checked. It is the product's proof of itself, run by `faultline storm`.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "guestmem/fault_stats.h"
#include "guestmem/host.h"
#include "guestmem/latency_histogram.h"
#include "guestmem/types.h"

namespace faultline {

enum class StormEngineKind : uint8_t {
  kKvm,      // vCPUs of a real VM run the built-in guest's payload
  kThreads,  // host threads stand in for vCPUs; needs no /dev/kvm
};
enum class StormPattern : uint8_t {
  kRandom,
  kSequential,
  kHot,       // mostly the first few pages of each region
  kSameLeaf,  // all vCPUs and the unplugger meet on one leaf table
};
enum class StormUnplug : uint8_t {
  kForced,       // surprise removal
  kCooperative,  // every vCPU is asked to leave first, and may refuse
  kMixed,
};

// The words of the command line, and back. The parsers throw UsageError naming the choices.
StormEngineKind ParseStormEngine(std::string_view text);
StormPattern ParseStormPattern(std::string_view text);
StormUnplug ParseStormUnplug(std::string_view text);
std::string_view ToString(StormEngineKind kind);
std::string_view ToString(StormPattern pattern);
std::string_view ToString(StormUnplug unplug);

// What is known while a storm runs; all counts since its start.
struct StormProgress {
  std::chrono::nanoseconds elapsed{};
  std::chrono::nanoseconds duration{};
  uint64_t faults = 0;
  double faults_per_second = 0;  // over the last interval
  uint64_t unplugs = 0;
  uint64_t replugs = 0;
  uint64_t violations = 0;
};

struct StormOptions {
  StormEngineKind engine = StormEngineKind::kKvm;
  unsigned vcpus = 4;          // 1..256
  unsigned regions = 8;        // 1..1024
  Bytes region_size = 64_MiB;  // a multiple of 2 MiB
  std::chrono::nanoseconds duration = std::chrono::seconds(10);
  std::chrono::nanoseconds churn = std::chrono::milliseconds(20);  // from one unplug to the next
  StormPattern pattern = StormPattern::kRandom;
  StormUnplug unplug = StormUnplug::kForced;
  std::string source = "zero";        // as ParsePageSource takes it
  std::string fault_around = "auto";  // as ParseFaultAround takes it
  uint64_t seed = 0;                  // 0: taken from the host's entropy, and reported
  // How long a vCPU may go without finishing an access before it counts as stuck; a slow source's delay
  // is added to it.
  std::chrono::nanoseconds stuck_after = std::chrono::seconds(5);
  // Called about five times a second from the thread in RunStorm; may be empty.
  std::function<void(const StormProgress&)> progress;
  // Set, from a signal handler or any thread, to end the storm early; null: it runs its time.
  const std::atomic<bool>* interrupted = nullptr;
};

struct StormQuantiles {
  uint64_t p50 = 0, p99 = 0, p999 = 0, max = 0;  // ns
};

// Each of these must be 0.
struct StormViolations {
  uint64_t stale_reads = 0;       // a byte of an earlier incarnation was readable
  uint64_t lost_writes = 0;       // memory did not hold what was written last
  uint64_t served_dead = 0;       // an access was served from a region after its unplug had returned
  uint64_t leaked_tables = 0;     // shadow tables unaccounted for after everything was unplugged
  uint64_t stuck_vcpus = 0;       // vCPUs whose access did not end within the bound
  uint64_t unreturned_bytes = 0;  // the books and the host's charge differ by this much
  uint64_t Total() const {
    return stale_reads + lost_writes + served_dead + leaked_tables + stuck_vcpus + unreturned_bytes;
  }
};

// One wrong access, for the person who has to find out why.
struct StormViolation {
  std::string kind;  // "stale_read", "lost_write", "served_dead"
  unsigned vcpu = 0;
  Gpa gpa;
  uint64_t expected = 0;
  uint64_t seen = 0;
  uint64_t incarnation = 0;
};

// One point of the report's curves: what happened in the interval that ends at `t`.
struct StormSample {
  std::chrono::nanoseconds t{};
  uint64_t faults = 0;
  uint64_t unplugs = 0;
};

// `region` was plugged in window slot `slot` from `from` to `to`.
struct StormSpan {
  unsigned slot = 0;
  unsigned region = 0;
  uint64_t incarnation = 0;
  std::chrono::nanoseconds from{};
  std::chrono::nanoseconds to{};
};

struct StormResult {
  StormOptions options;  // as run: the seed is the one that was used
  double seconds = 0;
  std::string failure;  // the storm could not run to its end: why, in one sentence; empty when it did

  FaultTotals faults;
  StormQuantiles latency;        // fault service: message read to page installed
  StormQuantiles guest_latency;  // one access to plugged memory as the vCPU saw it
  LatencyHistogram latency_histogram;
  uint64_t reads = 0, writes = 0;  // finished by vCPUs
  uint64_t unplugs = 0, unplugs_cooperative = 0, refusals = 0, replugs = 0, replugs_elsewhere = 0;
  StormQuantiles unplug;
  StormQuantiles revoke, slot_delete, scan, discard;  // phases of an unplug
  StormQuantiles replug;
  TableTotals tables;         // when the storm ended, before everything was unplugged for the last checks
  double recycled_share = 0;  // of all tables ever linked, those taken back from limbo
  uint64_t unplugged_accesses = 0;
  Bytes host_plugged, host_charged;  // at the last quiet point
  uint64_t quiet_points = 0;
  StormViolations violations;
  std::vector<StormViolation> violation_details;  // the first few
  std::vector<StormSample> samples;
  std::vector<StormSpan> spans;

  // True when it ran to its end and nothing was violated.
  bool Clean() const { return failure.empty() && violations.Total() == 0; }
};

// Throws UsageError for options that make no storm.
void ValidateStormOptions(const StormOptions& options);

// Runs a storm to its end; blocks for its duration and the checks around it. Throws UsageError for bad
// options and Error when it could not start. A storm that hangs (a stuck vCPU or unplug) still returns
// with stuck_vcpus > 0; its threads and memory are then abandoned, and the process should end soon.
StormResult RunStorm(Host& host, const StormOptions& options);

// The result as one JSON object, indented, with a final newline.
std::string StormJson(const StormResult& result);
// A self-contained HTML page: fetches nothing, works from a file, light and dark.
std::string StormReportHtml(const StormResult& result);
// A few lines for a terminal.
std::string StormSummary(const StormResult& result);

// Writes `content` to `path` whole or not at all (a temporary file beside it, then a rename). Throws Error.
void WriteFileWhole(const std::string& path, std::string_view content);

struct StormCommand {
  StormOptions options;     // `progress` and `interrupted` are set by RunStormCommand
  std::string report_path;  // HTML; empty: none
  std::string json_path;    // "-": standard output; empty: a summary for people on standard output instead
};

// `faultline storm` behind its options: runs the storm with a live line on a terminal and Ctrl-C ending
// it early, prints and writes the results. Returns the exit status: 0 clean, 1 for a violation or a
// failure (results that exist are printed all the same). Throws what RunStorm throws. Does not return
// when a vCPU is stuck: it ends the process with status 1 after the results are out.
int RunStormCommand(Host& host, const StormCommand& command);

}  // namespace faultline
