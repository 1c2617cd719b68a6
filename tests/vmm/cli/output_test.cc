#include "vmm/cli/output.h"

#include <gtest/gtest.h>

#include "guestmem/error.h"
#include "vmm/cli/log.h"

namespace faultline {
namespace {

TEST(Table, AlignsItsColumnsAndEndsLinesWithoutBlanks) {
  EXPECT_EQ(Table({{"NAME", "PID"}, {"a", "1"}, {"long-name", "22"}}), "NAME       PID\na          1\nlong-name  22\n");
  EXPECT_EQ(Table({{"ä", "x"}, {"bb", "y"}}), "ä   x\nbb  y\n") << "by characters, not bytes";
}

TEST(PrintError, IsOneLineWithTheProgramsName) {
  testing::internal::CaptureStderr();
  PrintError("The size is\nwrong\033[0m");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "faultline: the size is wrong [0m\n");
  testing::internal::CaptureStderr();
  PrintError("VM 'a' has ended");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "faultline: VM 'a' has ended\n");
}

TEST(Log, IsQuietBelowItsLevel) {
  SetLogLevel(ParseLogLevel("warning"));
  testing::internal::CaptureStderr();
  Log(LogLevel::kInfo, "not shown");
  Log(LogLevel::kWarning, "shown {}");
  const std::string seen = testing::internal::GetCapturedStderr();
  EXPECT_EQ(seen.find("not shown"), std::string::npos);
  EXPECT_NE(seen.find("warning: shown {}\n"), std::string::npos) << seen;
  SetLogLevel(LogLevel::kOff);
  EXPECT_FALSE(LogEnabled(LogLevel::kError));
  EXPECT_FALSE(LogEnabled(LogLevel::kOff));
  EXPECT_THROW(ParseLogLevel("loud"), UsageError);
  SetLogLevel(LogLevel::kWarning);
}

}  // namespace
}  // namespace faultline
