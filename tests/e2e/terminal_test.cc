// `faultline run` in a terminal: the guest's prompt, the escape keys, and the terminal afterwards.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "tests/e2e/program.h"

namespace faultline::e2e {
namespace {

using testing::HasSubstr;

class RunInTerminal : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasKvm()) GTEST_SKIP() << "/dev/kvm is not there or not for this user";
  }
  // The same modes as `before`, in what raw mode changes.
  static void ExpectRestored(const termios& before, const Terminal& terminal) {
    const termios after = terminal.Settings();
    EXPECT_EQ(after.c_lflag, before.c_lflag);
    EXPECT_EQ(after.c_iflag, before.c_iflag);
    EXPECT_EQ(after.c_oflag, before.c_oflag);
  }
  Workplace place_;
};

TEST_F(RunInTerminal, TheGuestGreetsPromptsAndObeys) {
  Terminal terminal(place_, {"run", "--name", "t", "--memory", "64M"});
  EXPECT_THAT(terminal.ReadUntil(kPrompt), HasSubstr("boot 0x200000+62M online"));
  EXPECT_THAT(terminal.Command("help"), HasSubstr("fill RANGE"));
  terminal.Type("halt\r");
  EXPECT_EQ(terminal.Wait(), 0);
  EXPECT_THAT(terminal.rest(), HasSubstr("VM 't' ended: the guest halted\n"));
}

TEST_F(RunInTerminal, CtrlAHelpsAndEndsAndTheTerminalIsAsBefore) {
  // The settings a fresh pseudo-terminal has.
  Terminal reference(place_, {"version"});
  const termios before = reference.Settings();
  reference.Wait();
  Terminal terminal(place_, {"run", "--name", "t"});
  terminal.ReadUntil(kPrompt);
  EXPECT_EQ(terminal.Settings().c_lflag & (ICANON | ECHO | ISIG), 0U) << "raw while the VM runs";
  terminal.Type("\x01h");
  terminal.ReadUntil("Ctrl-A x ends the VM");
  terminal.Type("\x01x");
  EXPECT_EQ(terminal.Wait(), 0);
  EXPECT_THAT(terminal.rest(), HasSubstr("ended: Ctrl-A x ended it"));
  ExpectRestored(before, terminal);
}

TEST_F(RunInTerminal, CtrlCIsTheGuests) {
  Terminal terminal(place_, {"run", "--name", "t"});
  terminal.ReadUntil(kPrompt);
  terminal.Type("\x03");
  terminal.Type("\r");
  terminal.ReadUntil(kPrompt);
  EXPECT_THAT(terminal.Command("mem"), HasSubstr("total"));
}

TEST_F(RunInTerminal, EverySignalToEndItEndsItInOrder) {
  Terminal reference(place_, {"version"});
  const termios before = reference.Settings();
  reference.Wait();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    Terminal terminal(place_, {"run", "--name", "t"});
    terminal.ReadUntil(kPrompt);
    terminal.Signal(signal);
    EXPECT_EQ(terminal.Wait(), 0) << signal;
    ExpectRestored(before, terminal);
    EXPECT_NE(access(place_.socket_file("t").c_str(), F_OK), 0) << "the control socket is gone";
    EXPECT_NE(access(place_.lock_file("t").c_str(), F_OK), 0);
  }
}

TEST_F(RunInTerminal, ACrashOfTheProgramLeavesTheTerminalUsable) {
  Terminal reference(place_, {"version"});
  const termios before = reference.Settings();
  reference.Wait();
  for (const int signal : {SIGSEGV, SIGABRT, SIGQUIT}) {
    if (kSanitized && signal == SIGSEGV) continue;
    Terminal terminal(place_, {"run", "--name", "t"});
    terminal.ReadUntil(kPrompt);
    terminal.Signal(signal);
    EXPECT_NE(terminal.Wait(), 0);
    ExpectRestored(before, terminal);
  }
}

TEST_F(RunInTerminal, StoppedFromOutsideItGivesTheTerminalBackAndTakesItAgain) {
  Terminal terminal(place_, {"run", "--name", "t"});
  terminal.ReadUntil(kPrompt);
  terminal.Signal(SIGTSTP);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while ((terminal.Settings().c_lflag & ICANON) == 0 && std::chrono::steady_clock::now() < deadline) usleep(1000);
  EXPECT_NE(terminal.Settings().c_lflag & ICANON, 0U);
  terminal.Signal(SIGCONT);
  while ((terminal.Settings().c_lflag & ICANON) != 0 && std::chrono::steady_clock::now() < deadline) usleep(1000);
  EXPECT_EQ(terminal.Settings().c_lflag & ICANON, 0U);
  EXPECT_THAT(terminal.Command("mem"), HasSubstr("total"));
}

}  // namespace
}  // namespace faultline::e2e
