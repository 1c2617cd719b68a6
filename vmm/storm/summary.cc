// A storm's result in a few lines for a terminal.
#include <cinttypes>
#include <cstdio>

#include "vmm/storm/duration_text.h"
#include "vmm/storm/storm.h"

namespace faultline {
namespace {

template <class... Args>
std::string Format(const char* format, Args... args) {
  char line[256];
  std::snprintf(line, sizeof line, format, args...);
  return line;
}

std::string Row(const char* name, const StormQuantiles& q) {
  return Format("  %-15s %10s %10s %10s\n", name, DurationText(q.p50).c_str(), DurationText(q.p99).c_str(),
                DurationText(q.max).c_str());
}

void AddCount(std::string* text, const char* name, uint64_t count) {
  if (count != 0) *text += Format("    %-17s %" PRIu64 "\n", name, count);
}

}  // namespace

std::string DurationText(uint64_t ns) {
  const auto value = static_cast<double>(ns);
  if (ns < 1'000) return Format("%.0f ns", value);
  if (ns < 1'000'000) return Format("%.1f us", value / 1e3);
  if (ns < 1'000'000'000) return Format("%.2f ms", value / 1e6);
  return Format("%.2f s", value / 1e9);
}

std::string StormSummary(const StormResult& r) {
  const double seconds = r.seconds > 0 ? r.seconds : 1;
  std::string text = Format("storm: %s, %u vCPUs on %u regions of %" PRIu64 " MiB, %.1f s, seed %" PRIu64 "\n",
                            std::string(ToString(r.options.engine)).c_str(), r.options.vcpus, r.options.regions,
                            r.options.region_size.value >> 20, r.seconds, r.options.seed);
  text += Format("  %-15s %" PRIu64 " (%.0f/s), %" PRIu64 " pages; %" PRIu64 " retries, %" PRIu64 " dead bails\n",
                 "faults", r.faults.faults, static_cast<double>(r.faults.faults) / seconds, r.faults.pages,
                 r.faults.retries, r.faults.dead_bails);
  text += Format("  %-15s %" PRIu64 " (%" PRIu64 " after asking, %" PRIu64 " refused); %" PRIu64 " re-plugs, %" PRIu64
                 " of them elsewhere\n",
                 "unplugs", r.unplugs, r.unplugs_cooperative, r.refusals, r.replugs, r.replugs_elsewhere);
  text += Format("  %-15s %" PRIu64 " allocated, %" PRIu64 " taken back from limbo (%.1f %%)\n", "tables",
                 r.tables.allocated, r.tables.recycled, 100 * r.recycled_share);
  text += Format("  %-15s %" PRIu64 "\n", "unplugged hits", r.unplugged_accesses);
  text += Format("  %-15s %10s %10s %10s\n", "", "p50", "p99", "max");
  text += Row("fault service", r.latency);
  text += Row("guest access", r.guest_latency);
  text += Row("unplug", r.unplug);
  text += Row("  slot deletion", r.slot_delete);
  if (!r.failure.empty()) text += "  failed: " + r.failure + "\n";
  const StormViolations& v = r.violations;
  if (v.Total() == 0) {
    text += "  violations      none\n";
    return text;
  }
  text += "  VIOLATIONS\n";
  AddCount(&text, "stale reads", v.stale_reads);
  AddCount(&text, "lost writes", v.lost_writes);
  AddCount(&text, "served dead", v.served_dead);
  AddCount(&text, "leaked tables", v.leaked_tables);
  AddCount(&text, "stuck vCPUs", v.stuck_vcpus);
  AddCount(&text, "unreturned bytes", v.unreturned_bytes);
  for (const StormViolation& d : r.violation_details) {
    text += Format("    vCPU %u, %s at 0x%" PRIx64 " in incarnation %" PRIu64 ": expected 0x%" PRIx64 ", saw 0x%" PRIx64
                   "\n",
                   d.vcpu, d.kind.c_str(), d.gpa.value, d.incarnation, d.expected, d.seen);
  }
  return text;
}

}  // namespace faultline
