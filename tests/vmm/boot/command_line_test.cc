#include "vmm/boot/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/boot/boot.h"

namespace faultline {
namespace {

using testing::Contains;
using testing::Not;

const std::vector<std::string> kDefaults = {"console=ttyS0", "panic=-1", "nopti", "tsc_early_khz=1000"};

TEST(CommandLine, GetsEveryDefaultWhenTheUserGaveNothing) {
  EXPECT_EQ(CompleteCommandLine("", kDefaults), "console=ttyS0 panic=-1 nopti tsc_early_khz=1000");
}

TEST(CommandLine, KeepsWhatTheUserSaidInsteadOfADefault) {
  EXPECT_EQ(CompleteCommandLine("panic=5 quiet", kDefaults), "console=ttyS0 nopti tsc_early_khz=1000 panic=5 quiet");
  EXPECT_EQ(CompleteCommandLine("nopti", kDefaults), "console=ttyS0 panic=-1 tsc_early_khz=1000 nopti");
}

TEST(CommandLine, TakesDashesAndUnderscoresForTheSame) {
  EXPECT_EQ(CompleteCommandLine("tsc-early-khz=7", kDefaults), "console=ttyS0 panic=-1 nopti tsc-early-khz=7");
}

TEST(CommandLine, DoesNotTakePartsOfWordsOrQuotedTextForParameters) {
  EXPECT_EQ(CompleteCommandLine("mypanic=1 name=\"a panic=2 b\"", std::vector<std::string>{"panic=-1"}),
            "panic=-1 mypanic=1 name=\"a panic=2 b\"");
}

TEST(CommandLine, LeavesTheWordsOfInitAlone) {
  EXPECT_EQ(CompleteCommandLine("quiet -- panic=1", std::vector<std::string>{"panic=-1"}), "panic=-1 quiet -- panic=1");
}

TEST(CommandLine, SparesAnInterpretedKernelWorkAndNoOther) {
  EXPECT_THAT(DefaultCommandLine(true, 0), Contains("rodata=off"));
  EXPECT_THAT(DefaultCommandLine(false, 0), Not(Contains("rodata=off")));
  EXPECT_THAT(DefaultCommandLine(false, 2400000), Contains("tsc_early_khz=2400000"));
}

}  // namespace
}  // namespace faultline
