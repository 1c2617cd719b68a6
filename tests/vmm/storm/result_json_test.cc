#include "vmm/storm/result_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/vmm/storm/sample_result.h"

namespace faultline {
namespace {

using nlohmann::json;

std::vector<std::string> Keys(const json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

class StormJsonTest : public testing::Test {
 protected:
  void SetUp() override { FillSampleResult(&result_); }
  json Parse() const { return json::parse(StormJson(result_)); }
  StormResult result_;
};

TEST_F(StormJsonTest, HasEveryPromisedKey) {
  const json j = Parse();
  for (const char* key :
       {"faults", "faults_per_second", "latency_ns", "unplugs", "unplug_ns", "unplug_phases_ns", "replugs", "retries",
        "dead_bails", "tables", "unplugged_accesses", "host_bytes", "violations", "engine", "seed", "seconds"}) {
    EXPECT_TRUE(j.contains(key)) << key;
  }
  using testing::IsSupersetOf;
  using testing::UnorderedElementsAre;
  EXPECT_THAT(Keys(j["latency_ns"]), UnorderedElementsAre("p50", "p99", "p999", "max"));
  EXPECT_THAT(Keys(j["unplug_ns"]), UnorderedElementsAre("p50", "p99", "max"));
  EXPECT_THAT(Keys(j["unplug_phases_ns"]), UnorderedElementsAre("revoke", "slot_delete", "scan", "discard"));
  for (const json& phase : j["unplug_phases_ns"]) EXPECT_THAT(Keys(phase), UnorderedElementsAre("p50", "p99"));
  EXPECT_THAT(Keys(j["tables"]), IsSupersetOf({"allocated", "recycled", "freed", "live", "limbo"}));
  EXPECT_THAT(Keys(j["host_bytes"]), UnorderedElementsAre("plugged", "charged"));
  EXPECT_THAT(Keys(j["violations"]), UnorderedElementsAre("stale_reads", "lost_writes", "served_dead", "leaked_tables",
                                                          "stuck_vcpus", "unreturned_bytes"));
}

TEST_F(StormJsonTest, KeepsLargeNumbersWhole) {
  EXPECT_EQ(Parse()["seed"].get<uint64_t>(), 18'000'000'000'000'000'001ULL);
}

TEST_F(StormJsonTest, TellsTheRate) { EXPECT_DOUBLE_EQ(Parse()["faults_per_second"].get<double>(), 400.0); }

TEST_F(StormJsonTest, SetsTheWholeUnplugAgainstTheBareSlotDeletion) {
  EXPECT_NEAR(Parse()["unplug_over_slot_delete"]["p50"].get<double>(), 1.111, 0.001);
  EXPECT_NEAR(Parse()["unplug_over_slot_delete"]["p99"].get<double>(), 1.2, 0.001);
}

TEST_F(StormJsonTest, IsNotOkWithAnyViolation) {
  EXPECT_TRUE(Parse()["ok"].get<bool>());
  for (uint64_t StormViolations::*member :
       {&StormViolations::stale_reads, &StormViolations::lost_writes, &StormViolations::served_dead,
        &StormViolations::leaked_tables, &StormViolations::stuck_vcpus, &StormViolations::unreturned_bytes}) {
    result_.violations = {};
    result_.violations.*member = 1;
    EXPECT_FALSE(Parse()["ok"].get<bool>());
    EXPECT_FALSE(result_.Clean());
  }
}

TEST_F(StormJsonTest, TellsWhyAStormDidNotFinish) {
  result_.failure = "the host ran out of pages";
  EXPECT_EQ(Parse()["failure"], "the host ran out of pages");
  EXPECT_FALSE(Parse()["ok"].get<bool>());
}

TEST_F(StormJsonTest, DescribesWrongAccessesWithoutRoundingThem) {
  result_.violation_details.push_back({"stale_read", 2, Gpa(0x1'2345'6008), ~uint64_t{0} - 1, 5, 77});
  const json detail = Parse()["violation_details"][0];
  EXPECT_EQ(detail["expected"], "0xfffffffffffffffe");
  EXPECT_EQ(detail["gpa"], "0x123456008");
}

TEST_F(StormJsonTest, HasASummaryForPeopleThatNamesViolations) {
  EXPECT_THAT(StormSummary(result_), testing::HasSubstr("violations      none"));
  result_.violations.lost_writes = 3;
  EXPECT_THAT(StormSummary(result_), testing::ContainsRegex("lost writes +3"));
}

}  // namespace
}  // namespace faultline
