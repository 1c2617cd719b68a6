#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/vmm/storm/short_storm.h"

namespace faultline {
namespace {

using testing::HasSubstr;

StormCommand Command() {
  StormCommand command;
  command.options = ShortStorm(StormEngineKind::kThreads);
  command.options.duration = std::chrono::milliseconds(200);
  return command;
}

struct Outcome {
  int status;
  std::string out, err;
};

Outcome Try(const StormCommand& command) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Outcome outcome;
  outcome.status = RunStormCommand(Host::System(), command);
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

TEST(StormCommand, PrintsASummaryAndEndsWithZero) {
  const Outcome outcome = Try(Command());
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("violations      none"));
  EXPECT_EQ(outcome.err, "");  // no progress line where nobody watches
}

TEST(StormCommand, PrintsNothingButJsonWhenAskedTo) {
  StormCommand command = Command();
  command.json_path = "-";
  const Outcome outcome = Try(command);
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["engine"], "threads");
}

TEST(StormCommand, WritesJsonAndReportToFilesAndSaysWhere) {
  const std::string base = testing::TempDir() + "storm_command_" + std::to_string(getpid());
  StormCommand command = Command();
  command.json_path = base + ".json";
  command.report_path = base + ".html";
  const Outcome outcome = Try(command);
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.out, HasSubstr("report: " + command.report_path));
  EXPECT_GT(std::filesystem::file_size(command.json_path), 0U);
  EXPECT_GT(std::filesystem::file_size(command.report_path), 0U);
  std::filesystem::remove(command.json_path);
  std::filesystem::remove(command.report_path);
}

TEST(StormCommand, StillPrintsTheResultsWhenTheReportCannotBeWritten) {
  StormCommand command = Command();
  command.json_path = "-";
  command.report_path = "/dev/full";
  const Outcome outcome = Try(command);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_TRUE(nlohmann::json::parse(outcome.out)["ok"].get<bool>());
  EXPECT_EQ(outcome.err,
            "faultline: cannot write '/dev/full': No space left on device; free some space or choose another place\n");
}

}  // namespace
}  // namespace faultline
