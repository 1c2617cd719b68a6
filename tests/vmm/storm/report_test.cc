#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/vmm/storm/sample_result.h"
#include "vmm/storm/storm.h"

namespace faultline {
namespace {

using testing::HasSubstr;
using testing::Not;

// The data a report carries for its script.
nlohmann::json DataOf(const std::string& page) {
  const std::string begin = "<script type=\"application/json\" id=\"data\">";
  const size_t from = page.find(begin);
  EXPECT_NE(from, std::string::npos);
  const size_t start = from + begin.size();
  return nlohmann::json::parse(page.substr(start, page.find("</script>", start) - start));
}

class StormReport : public testing::Test {
 protected:
  void SetUp() override { FillSampleResult(&result_); }
  StormResult result_;
};

TEST_F(StormReport, FetchesNothing) {
  std::string page = StormReportHtml(result_);
  // The one address is the name of SVG's namespace.
  const std::string svg = "http://www.w3.org/2000/svg";
  ASSERT_THAT(page, HasSubstr(svg));
  page.erase(page.find(svg), svg.size());
  for (const char* word :
       {"http:", "https:", "src=", "href=", "@import", "url(", "fetch(", "XMLHttpRequest", "<link", "import("}) {
    EXPECT_THAT(page, Not(HasSubstr(word)));
  }
}

TEST_F(StormReport, IsOnePageInLightAndDark) {
  const std::string page = StormReportHtml(result_);
  EXPECT_THAT(page, testing::StartsWith("<!DOCTYPE html>"));
  EXPECT_THAT(page, HasSubstr("</html>"));
  EXPECT_THAT(page, HasSubstr("prefers-color-scheme: dark"));
}

TEST_F(StormReport, CarriesCurvesHistogramAndMap) {
  const auto data = DataOf(StormReportHtml(result_));
  EXPECT_EQ(data["samples"].size(), 2U);
  EXPECT_EQ(data["samples"][0], nlohmann::json::parse("[0.05, 20, 1]"));
  EXPECT_EQ(data["spans"].size(), 2U);
  EXPECT_EQ(data["slots"], result_.options.regions);
  uint64_t faults = 0;
  for (const auto& bucket : data["histogram"]) faults += bucket[2].get<uint64_t>();
  EXPECT_EQ(faults, result_.latency_histogram.count());
  EXPECT_EQ(data["result"]["violations"]["stale_reads"], 0);
  EXPECT_EQ(data["seed"], "18000000000000000001");
}

TEST_F(StormReport, IsNotBrokenByTextInItsData) {
  result_.failure = "</script><b>";
  const std::string page = StormReportHtml(result_);
  EXPECT_THAT(page, Not(HasSubstr("</script><b>")));
  EXPECT_EQ(DataOf(page)["result"]["failure"], "</script><b>");
}

TEST_F(StormReport, StaysSmallAfterALongStorm) {
  result_.spans.assign(50'000, result_.spans[0]);
  EXPECT_LT(StormReportHtml(result_).size(), 1'000'000U);
}

}  // namespace
}  // namespace faultline
