// A storm's result as JSON, for machines and for the report's page.
#include "vmm/storm/result_json.h"

#include <cmath>
#include <cstdio>

#include "guestmem/hex.h"
#include "vmm/storm/storm.h"

namespace faultline {
namespace {

using Json = nlohmann::ordered_json;

// To a number of decimals given as a power of ten: nobody needs sixteen digits.
double Round(double value, double power) { return std::round(value * power) / power; }

// As text: readers that take numbers for doubles would round them.
Json Latency(const StormQuantiles& q) { return {{"p50", q.p50}, {"p99", q.p99}, {"p999", q.p999}, {"max", q.max}}; }
Json Span(const StormQuantiles& q) { return {{"p50", q.p50}, {"p99", q.p99}, {"max", q.max}}; }
Json Phase(const StormQuantiles& q) { return {{"p50", q.p50}, {"p99", q.p99}}; }

Json Ratio(uint64_t whole, uint64_t part) {
  if (part == 0) return nullptr;
  return Round(static_cast<double>(whole) / static_cast<double>(part), 1e3);
}

}  // namespace

Json StormResultToJson(const StormResult& result) {
  const StormOptions& options = result.options;
  const StormViolations& violations = result.violations;
  Json json;
  json["engine"] = ToString(options.engine);
  json["seed"] = options.seed;
  json["seconds"] = Round(result.seconds, 1e3);
  json["ok"] = result.Clean();
  if (!result.failure.empty()) json["failure"] = result.failure;
  json["options"] = {{"vcpus", options.vcpus},
                     {"regions", options.regions},
                     {"region_size", options.region_size.value},
                     {"duration_ns", options.duration.count()},
                     {"churn_ns", options.churn.count()},
                     {"pattern", ToString(options.pattern)},
                     {"unplug", ToString(options.unplug)},
                     {"source", options.source},
                     {"fault_around", options.fault_around}};
  json["faults"] = result.faults.faults;
  json["faults_per_second"] =
      result.seconds > 0 ? Round(static_cast<double>(result.faults.faults) / result.seconds, 10) : 0.0;
  json["pages"] = result.faults.pages;
  json["latency_ns"] = Latency(result.latency);
  json["guest_latency_ns"] = Latency(result.guest_latency);
  json["reads"] = result.reads;
  json["writes"] = result.writes;
  json["unplugs"] = result.unplugs;
  json["unplugs_cooperative"] = result.unplugs_cooperative;
  json["refusals"] = result.refusals;
  json["unplug_ns"] = Span(result.unplug);
  json["unplug_phases_ns"] = {{"revoke", Phase(result.revoke)},
                              {"slot_delete", Phase(result.slot_delete)},
                              {"scan", Phase(result.scan)},
                              {"discard", Phase(result.discard)}};
  json["unplug_over_slot_delete"] = {{"p50", Ratio(result.unplug.p50, result.slot_delete.p50)},
                                     {"p99", Ratio(result.unplug.p99, result.slot_delete.p99)}};
  json["replugs"] = result.replugs;
  json["replugs_elsewhere"] = result.replugs_elsewhere;
  json["replug_ns"] = Span(result.replug);
  json["retries"] = result.faults.retries;
  json["dead_bails"] = result.faults.dead_bails;
  json["revoked"] = result.faults.revoked;
  json["tables"] = {{"allocated", result.tables.allocated}, {"recycled", result.tables.recycled},
                    {"freed", result.tables.freed},         {"live", result.tables.live},
                    {"limbo", result.tables.limbo},         {"recycled_share", Round(result.recycled_share, 1e4)}};
  json["unplugged_accesses"] = result.unplugged_accesses;
  json["host_bytes"] = {{"plugged", result.host_plugged.value}, {"charged", result.host_charged.value}};
  json["quiet_points"] = result.quiet_points;
  json["violations"] = {{"stale_reads", violations.stale_reads}, {"lost_writes", violations.lost_writes},
                        {"served_dead", violations.served_dead}, {"leaked_tables", violations.leaked_tables},
                        {"stuck_vcpus", violations.stuck_vcpus}, {"unreturned_bytes", violations.unreturned_bytes}};
  Json details = Json::array();
  for (const StormViolation& v : result.violation_details) {
    details.push_back({{"kind", v.kind},
                       {"vcpu", v.vcpu},
                       {"gpa", Hex(v.gpa.value)},
                       {"expected", Hex(v.expected)},
                       {"seen", Hex(v.seen)},
                       {"incarnation", v.incarnation}});
  }
  if (!details.empty()) json["violation_details"] = details;
  return json;
}

std::string StormJson(const StormResult& result) { return StormResultToJson(result).dump(2) + "\n"; }

}  // namespace faultline
