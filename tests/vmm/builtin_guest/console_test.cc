// The built-in guest on real KVM, driven through its console.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <functional>
#include <random>
#include <string>
#include <thread>

#include "devices/memory_hotplug.h"
#include "tests/vmm/builtin_guest/running_guest.h"

namespace faultline {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class GuestConsole : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasKvm()) GTEST_SKIP() << "/dev/kvm is not there or not for this user";
  }
  static MachineConfig Config(unsigned cpus = 2) {
    MachineConfig config;
    config.name = "guest-test";
    config.cpus = cpus;
    config.memory.boot = 32_MiB;
    config.memory.max = 1_GiB;
    config.memory.slots = 4;
    return config;
  }
};

TEST_F(GuestConsole, PrintsItsMemoryAndThenAPrompt) {
  RunningGuest guest(Config(2));
  const std::string start = guest.ReadUntil(RunningGuest::kPrompt);
  EXPECT_THAT(start, HasSubstr("faultline guest, 2 vCPUs\r\n"));
  EXPECT_THAT(start, HasSubstr("boot 0x200000+30M online\r\n"));
}

TEST_F(GuestConsole, FindsMemoryPluggedBeforeItStarted) {
  MachineConfig config = Config();
  config.start_paused = true;
  RunningGuest guest(config);
  guest.Plug("early", 64_MiB);
  guest.machine().Resume();
  EXPECT_THAT(guest.ReadUntil(RunningGuest::kPrompt), HasSubstr("dimm0 0x100000000+64M online\r\n"));
}

TEST_F(GuestConsole, HelpNamesEveryCommand) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  const std::string help = guest.Run("help");
  for (const char* command :
       {"help", "mem", "fill RANGE", "check RANGE", "hold RANGE", "release RANGE", "walk", "count RANGE", "halt"}) {
    EXPECT_THAT(help, HasSubstr(command));
  }
}

TEST_F(GuestConsole, NoticesPluggedMemoryByItselfAndFindsItZero) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  EXPECT_EQ(guest.PlugAndWait("m0", 64_MiB), "64 MiB at 0x100000000, zero\r\n");
  guest.ReadUntil(RunningGuest::kPrompt);
  EXPECT_THAT(guest.Run("mem"), HasSubstr("dimm0 0x100000000+64M online\r\ntotal 94 MiB"));
}

TEST_F(GuestConsole, ANoticeLeavesTheLineBeingTypedInPlace) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  guest.Type("mem");
  guest.ReadUntil("mem");
  guest.PlugAndWait("m0", 2_MiB);
  guest.ReadUntil("faultline> mem");
  guest.Type("\r");
  EXPECT_THAT(guest.ReadUntil(RunningGuest::kPrompt), HasSubstr("dimm0 "));
}

TEST_F(GuestConsole, CheckAcceptsWhatFillWroteAndNothingElse) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  guest.PlugAndWait("m0", 4_MiB);
  guest.ReadUntil(RunningGuest::kPrompt);
  EXPECT_EQ(guest.Run("check dimm0"), "check FAILED: 0 pages good, 1024 zero (never filled), 0 wrong\r\n");
  EXPECT_THAT(guest.Run("fill dimm0"), StartsWith("filled 4 MiB: 1024 pages by "));
  EXPECT_EQ(guest.Run("check dimm0"), "check ok: 1024 pages good, 0 zero (never filled), 0 wrong\r\n");

  const std::array damage = {std::byte{0x42}};
  ASSERT_EQ(guest.machine().memory().Write(Gpa(0x1'0012'3458), damage), AccessResult::kOk);
  const std::string checked = guest.Run("check dimm0");
  EXPECT_THAT(checked, HasSubstr("mismatch at 0x100123458: expected "));
  EXPECT_THAT(checked, HasSubstr("check FAILED: 1023 pages good, 0 zero (never filled), 1 wrong"));
}

TEST_F(GuestConsole, PartsOfMemoryCanBeNamedByAddressSlotAndAll) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  guest.PlugAndWait("m0", 4_MiB);
  guest.ReadUntil(RunningGuest::kPrompt);
  EXPECT_THAT(guest.Run("fill 0x100100000+64K"), StartsWith("filled 64 KiB: 16 pages"));
  EXPECT_THAT(guest.Run("check 0"), HasSubstr("16 pages good, 1008 zero"));
  EXPECT_THAT(guest.Run("fill boot"), StartsWith("filled 30 MiB: 7680 pages"));
  EXPECT_THAT(guest.Run("fill all"), StartsWith("filled 34 MiB: 8704 pages"));
  EXPECT_THAT(guest.Run("check all"), StartsWith("check ok: 8704 pages"));
  EXPECT_EQ(guest.Run("walk"), "walked 34 MiB: 8704 pages\r\n");
}

TEST_F(GuestConsole, CountsInEveryPageUntilSomethingIsTypedAndFindsAPageThatWasChanged) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  const auto count = [&guest](const char* range, const std::function<void()>& meanwhile) {
    guest.Type(std::string("count ") + range + "\r");
    guest.ReadUntil("Enter to stop\r\n");
    meanwhile();
    guest.Type("\r");
    return guest.ReadUntil(RunningGuest::kPrompt);
  };
  const auto round = [&guest] {
    uint64_t n = 0;
    guest.machine().memory().Read(Gpa(0x300000), std::as_writable_bytes(std::span(&n, 1)));
    return n;
  };
  const auto wait_for_a_round = [&] {
    for (const uint64_t before = round(); round() <= before + 1;) std::this_thread::yield();
  };
  EXPECT_THAT(count("0x300000+64K", wait_for_a_round), HasSubstr(" on 16 pages: exact\r\n"));
  EXPECT_THAT(count("0x300000+64K",
                    [&] {
                      wait_for_a_round();
                      guest.machine().Pause();
                      ASSERT_EQ(guest.machine().memory().Write(Gpa(0x305007), std::array{std::byte{1}}),
                                AccessResult::kOk);
                      guest.machine().Resume();
                      wait_for_a_round();
                    }),
              HasSubstr("WRONG 1 times, first at 0x305000: expected "));
  EXPECT_THAT(guest.Run("count 0x1000+4K"), HasSubstr("error: "));
}

TEST_F(GuestConsole, WalkTouchesEveryPage) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  guest.PlugAndWait("m0", 16_MiB);
  guest.ReadUntil(RunningGuest::kPrompt);
  EXPECT_EQ(guest.Run("walk dimm0"), "walked 16 MiB: 4096 pages\r\n");
  const auto present = [&] { return guest.machine().MemoryDevices().at(0).present; };
  // A reader wakes the vCPU with the page and counts it only then.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (present() != 16_MiB && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(present(), 16_MiB);
}

TEST_F(GuestConsole, AllVcpusTakePartInTheWork) {
  RunningGuest guest(Config(2));
  guest.ReadUntil(RunningGuest::kPrompt);
  // On a busy host one vCPU may do a job alone; it must not stay that way.
  bool shared = false;
  for (int i = 0; i < 50 && !shared; ++i) shared = guest.Run("fill boot").find("by 2 vCPUs") != std::string::npos;
  EXPECT_TRUE(shared);
}

TEST_F(GuestConsole, GivesUpMemoryThatItIsAskedFor) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  guest.PlugAndWait("m0", 64_MiB);
  guest.ReadUntil(RunningGuest::kPrompt);
  guest.Run("fill dimm0");
  const UnplugResult result = guest.Unplug("m0");
  EXPECT_EQ(result.outcome, UnplugOutcome::kDone) << result.reason;
  guest.ReadUntil("dimm0 ejected: 64 MiB at 0x100000000\r\n");
  guest.ReadUntil(RunningGuest::kPrompt);
  EXPECT_THAT(guest.Run("mem"), Not(HasSubstr("dimm0 0x")));
}

TEST_F(GuestConsole, RefusesToGiveUpWhatIsHeldUntilItIsReleased) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  guest.PlugAndWait("m0", 64_MiB);
  guest.ReadUntil(RunningGuest::kPrompt);
  EXPECT_EQ(guest.Run("hold 0x100200000+4K"), "held 0x100200000+4K\r\n");
  const UnplugResult refused = guest.Unplug("m0");
  EXPECT_EQ(refused.outcome, UnplugOutcome::kRefused);
  EXPECT_EQ(refused.ost_status, ost::kInUseByApplication);
  guest.ReadUntil("dimm0 eject refused: held\r\n");
  guest.ReadUntil(RunningGuest::kPrompt);
  EXPECT_THAT(guest.Run("mem"), HasSubstr("dimm0 0x100000000+64M online, held"));
  EXPECT_THAT(guest.Run("fill dimm0"), StartsWith("filled 64 MiB")) << "it is fully usable";
  EXPECT_EQ(guest.Run("release dimm0"), "released 1 hold\r\n");
  EXPECT_EQ(guest.Unplug("m0").outcome, UnplugOutcome::kDone);
}

TEST_F(GuestConsole, MemoryThatComesBackIsZeroAndAnOldFillDoesNotPassForANewOne) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  for (int round = 0; round < 5; ++round) {
    EXPECT_THAT(guest.PlugAndWait("m0", 8_MiB), HasSubstr(", zero\r\n"));
    guest.ReadUntil(RunningGuest::kPrompt);
    EXPECT_THAT(guest.Run("check dimm0"), HasSubstr("0 pages good, 2048 zero (never filled), 0 wrong"));
    guest.Run("fill dimm0");
    ASSERT_EQ(guest.Unplug("m0", /*force=*/round % 2 == 0).outcome, UnplugOutcome::kDone);
    guest.ReadUntil(round % 2 == 0 ? "dimm0 gone without being asked for" : "dimm0 ejected");
  }
}

TEST_F(GuestConsole, SurvivesMemoryThatIsTakenWhileItIsBeingFilled) {
  RunningGuest guest(Config(2));
  guest.ReadUntil(RunningGuest::kPrompt);
  guest.PlugAndWait("m0", 512_MiB);
  guest.ReadUntil(RunningGuest::kPrompt);
  guest.Type("fill dimm0\r");
  guest.ReadUntil("fill dimm0\r\n");
  // Well inside the work, wherever exactly.
  while (guest.machine().MemoryDevices().at(0).present < 8_MiB) std::this_thread::yield();
  EXPECT_EQ(guest.Unplug("m0", /*force=*/true).outcome, UnplugOutcome::kDone);
  EXPECT_THAT(guest.ReadUntil("dimm0 gone without being asked for"), Not(StartsWith("<never")));
  guest.ReadUntil(RunningGuest::kPrompt);
  EXPECT_THAT(guest.Run("fill boot"), StartsWith("filled 30 MiB")) << "and goes on as if nothing had happened";
}

TEST_F(GuestConsole, PeekAndPokeReachTheEmptyWindow) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  EXPECT_EQ(guest.Run("peek 0x100000000"), "0x100000000: 0xffffffffffffffff\r\n");
  guest.Run("poke 0x100000000 5");
  EXPECT_EQ(guest.Run("peek 0x100000000"), "0x100000000: 0xffffffffffffffff\r\n") << "the write was dropped";
  EXPECT_EQ(guest.machine().Status().unplugged_accesses, 3U);
  EXPECT_THAT(guest.Run("poke 0x1000 5"), StartsWith("error: ")) << "not over its own mailbox";
  EXPECT_THAT(guest.Run("peek 0xffffffff00000000"), StartsWith("error: "));
}

TEST_F(GuestConsole, BadCommandsEachGetOneSentence) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  const std::string bad[] = {"frobnicate",
                             "fill",
                             "fill dimm",
                             "fill dimm99",
                             "fill 2",
                             "fill 99999999999999999999999",
                             "fill nonsense",
                             "fill 0x0+4K",
                             "fill 0x200000+1",
                             "fill 0x200001+4K",
                             "fill 0x200000+0",
                             "fill 0x200000+",
                             "fill +4K",
                             "fill 0x200000+1G",
                             "fill 0xfffffffffffff000+8K",
                             "fill 0x200000+99999999999G",
                             "hold dimm0",
                             "release dimm3",
                             "peek",
                             "peek 0x200001",
                             "peek zzz",
                             "poke 0x200000",
                             "poke 0x200000 zzz"};
  for (const std::string& command : bad) {
    const std::string answer = guest.Run(command);
    EXPECT_THAT(answer, StartsWith("error: ")) << command;
    EXPECT_EQ(answer.find('\n'), answer.size() - 1) << command << " -> " << answer;
  }
}

TEST_F(GuestConsole, EditsItsLineLikeATerminal) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  guest.Type("mex\x7fm\r");
  EXPECT_THAT(guest.ReadUntil(RunningGuest::kPrompt), HasSubstr("boot 0x200000+30M"));
  guest.Type("halt\x15mem\n");  // Ctrl-U drops the line
  guest.ReadUntil(RunningGuest::kPrompt);
  EXPECT_THAT(guest.ReadUntil(RunningGuest::kPrompt), HasSubstr("boot 0x200000+30M"));
  guest.Type("\r\n");
  EXPECT_EQ(guest.ReadUntil(RunningGuest::kPrompt), "\r\nfaultline> ") << "CR LF is one line end";
  guest.Type("mem\r");
  EXPECT_THAT(guest.ReadUntil(RunningGuest::kPrompt), HasSubstr("boot 0x200000+30M"));
}

TEST_F(GuestConsole, SurvivesGarbageOnItsLine) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  std::mt19937_64 random(7);  // NOLINT(cert-msc51-cpp): repeatable
  std::string garbage;
  for (int i = 0; i < 4000; ++i) {
    const char c = static_cast<char>(random());
    garbage.push_back(c == 'h' ? 'x' : c);  // no `halt` by chance
  }
  guest.Type(garbage);
  guest.Type(std::string(500, 'y'));  // longer than any line it keeps
  guest.Type("\r");
  guest.Type("peek 0x200000\r");
  EXPECT_THAT(guest.ReadUntil("0x200000: 0x0\r\n"), Not(StartsWith("<never")));
}

TEST_F(GuestConsole, HaltEndsTheMachineCleanly) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  guest.Type("halt\r");
  const ExitStatus status = guest.machine().WaitForExit();
  EXPECT_EQ(status.kind, ExitKind::kGuestHalt);
  EXPECT_EQ(status.code, 0);
}

TEST_F(GuestConsole, FollowsARequestToShutDown) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  guest.machine().RequestShutdown();
  const ExitStatus status = guest.machine().WaitForExit();
  EXPECT_EQ(status.kind, ExitKind::kShutdown);
  EXPECT_EQ(status.code, 0);
}

TEST_F(GuestConsole, FollowsARequestToShutDownInTheMiddleOfACommand) {
  RunningGuest guest(Config());
  guest.ReadUntil(RunningGuest::kPrompt);
  guest.PlugAndWait("m0", 512_MiB);
  guest.Type("fill all\r");
  guest.ReadUntil("fill all\r\n");
  guest.machine().RequestShutdown();
  EXPECT_EQ(guest.machine().WaitForExit().kind, ExitKind::kShutdown);
}

TEST_F(GuestConsole, RunsOnManyVcpus) {
  RunningGuest guest(Config(16));
  EXPECT_THAT(guest.ReadUntil(RunningGuest::kPrompt), HasSubstr("16 vCPUs"));
  EXPECT_THAT(guest.Run("fill all"), StartsWith("filled 30 MiB"));
  EXPECT_THAT(guest.Run("check all"), StartsWith("check ok"));
}

}  // namespace
}  // namespace faultline
