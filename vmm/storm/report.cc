// The report: one HTML page with its data, style and script inside.
#include <algorithm>
#include <cmath>
#include <string>

#include "vmm/storm/report_page.h"
#include "vmm/storm/result_json.h"
#include "vmm/storm/storm.h"

namespace faultline {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kPlaceholder = "@STORM_DATA@";
constexpr size_t kMaxSpansShown = 6000;

double Seconds(std::chrono::nanoseconds t) { return std::round(std::chrono::duration<double>(t).count() * 1e4) / 1e4; }

// [lower bound in ns, count] of each bucket that is not empty, eight fine buckets in one: about 9 % wide.
Json HistogramToJson(const LatencyHistogram& histogram) {
  constexpr unsigned kJoined = 8;
  Json rows = Json::array();
  for (unsigned b = 0; b < LatencyHistogram::kBuckets; b += kJoined) {
    uint64_t count = 0;
    for (unsigned i = b; i < b + kJoined; ++i) count += histogram.bucket(i);
    if (count == 0) continue;
    rows.push_back({LatencyHistogram::BucketFloor(b), LatencyHistogram::BucketFloor(b + kJoined), count});
  }
  return rows;
}

}  // namespace

std::string StormReportHtml(const StormResult& result) {
  Json data;
  data["result"] = StormResultToJson(result);
  data["seed"] = std::to_string(result.options.seed);  // a number would be rounded by the page's script
  data["text"] = StormJson(result);
  data["histogram"] = HistogramToJson(result.latency_histogram);
  Json& samples = data["samples"] = Json::array();
  for (const StormSample& sample : result.samples) {
    samples.push_back({Seconds(sample.t), sample.faults, sample.unplugs});
  }
  unsigned slots = result.options.regions;
  Json& spans = data["spans"] = Json::array();
  for (const StormSpan& span : result.spans) {
    slots = std::max(slots, span.slot + 1);
    if (spans.size() < kMaxSpansShown) {
      spans.push_back({span.slot, span.region, span.incarnation, Seconds(span.from), Seconds(span.to)});
    }
  }
  data["slots"] = slots;
  data["spans_total"] = result.spans.size();

  // '<' is escaped so that no text in the data can end the script element around it.
  std::string text;
  for (const char c : data.dump()) {
    if (c == '<') {
      text += "\\u003c";
    } else {
      text += c;
    }
  }
  std::string page(kReportPage);
  page.replace(page.find(kPlaceholder), kPlaceholder.size(), text);
  return page;
}

}  // namespace faultline
