// Start, pause, resume, and the ways a machine ends.
#include "guestmem/error.h"
#include "tests/vmm/machine/machine_under_test.h"

namespace faultline {
namespace {

using testing::HasSubstr;

class MachineLifeTest : public testing::Test {
 protected:
  void SetUp() override { SKIP_WITHOUT_KVM(); }

  // Faults whose vCPU was pulled out of KVM may still be served; after them nothing comes any more.
  static void ExpectFaultsToEnd(MachineUnderTest& vm) {
    Bytes present;
    unsigned unchanged = 0;
    for (int i = 0; i < 1000 && unchanged < 5; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(4));
      unchanged = vm.machine->Status().present_memory == present ? unchanged + 1 : 0;
      present = vm.machine->Status().present_memory;
    }
    EXPECT_EQ(unchanged, 5u) << "memory is still being faulted in";
  }
};

TEST_F(MachineLifeTest, TheGuestGreetsAndHaltEndsTheMachineCleanly) {
  MachineUnderTest vm;
  EXPECT_EQ(vm.machine->Status().state, RunState::kPrelaunch);
  vm.Start();
  EXPECT_EQ(vm.machine->Status().state, RunState::kRunning);
  vm.ExpectBooksAgree();
  vm.Type("halt");
  const ExitStatus exit = vm.machine->WaitForExit();
  EXPECT_EQ(exit.kind, ExitKind::kGuestHalt);
  EXPECT_EQ(exit.code, 0);
  EXPECT_EQ(vm.machine->Status().state, RunState::kExited);
  EXPECT_EQ(vm.EventsOf<ExitedEvent>().size(), 1u);
}

TEST_F(MachineLifeTest, ARequestedShutdownIsFollowedAndToldApart) {
  MachineUnderTest vm(MachineUnderTest::Config(2));
  vm.Start();
  vm.machine->RequestShutdown();
  const ExitStatus exit = vm.machine->WaitForExit();
  EXPECT_EQ(exit.kind, ExitKind::kShutdown);
  EXPECT_EQ(exit.code, 0);
  EXPECT_EQ(vm.EventsOf<PowerdownEvent>().size(), 1u);
}

TEST_F(MachineLifeTest, StopEndsARunningAPausedAndAnUnstartedMachine) {
  for (const int stage : {0, 1, 2}) {
    MachineUnderTest vm;
    if (stage > 0) vm.Start();
    if (stage > 1) vm.machine->Pause();
    vm.machine->Stop();
    EXPECT_EQ(vm.machine->WaitForExit().kind, ExitKind::kKilled);
    vm.machine->Stop();
    EXPECT_EQ(vm.EventsOf<ExitedEvent>().size(), 1u);
  }
}

TEST_F(MachineLifeTest, AnEndedMachineRefusesWhatNeedsALivingOne) {
  MachineUnderTest vm;
  vm.Start();
  vm.machine->Stop();
  EXPECT_THROW(vm.machine->Resume(), UsageError);
  EXPECT_THROW(vm.machine->RequestShutdown(), UsageError);
  EXPECT_THROW(vm.Plug("a", 2_MiB), UsageError);
  EXPECT_NO_THROW(vm.machine->Pause());
}

TEST_F(MachineLifeTest, APausedMachineIsSilentUntilItIsResumed) {
  MachineUnderTest vm(MachineUnderTest::Config(4));
  vm.Start();
  vm.machine->Pause();
  EXPECT_EQ(vm.machine->Status().state, RunState::kPaused);
  EXPECT_EQ(vm.machine->Status().pause_reason, PauseReason::kRequested);
  const std::string line = "mem\n";
  vm.machine->ConsoleInput(std::as_bytes(std::span(line)));
  vm.machine->Pause();
  EXPECT_EQ(vm.EventsOf<PausedEvent>().size(), 1u) << "the second pause changed nothing";
  vm.machine->Resume();
  vm.machine->Resume();
  EXPECT_EQ(vm.EventsOf<ResumedEvent>().size(), 1u);
  EXPECT_TRUE(vm.WaitForConsole("total"));
  EXPECT_FALSE(vm.machine->Status().pause_reason.has_value());
}

TEST_F(MachineLifeTest, StartedPausedItRunsNothingBeforeResume) {
  MachineConfig config = MachineUnderTest::Config();
  config.start_paused = true;
  MachineUnderTest vm(config);
  const uint64_t faults = vm.machine->Status().faults.faults;
  vm.machine->Start();
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(vm.machine->Status().state, RunState::kPrelaunch);
  EXPECT_EQ(vm.machine->Status().faults.faults, faults);
  vm.machine->Resume();
  EXPECT_TRUE(vm.WaitForConsole("faultline> "));
}

TEST_F(MachineLifeTest, ASecondStartIsRefused) {
  MachineUnderTest vm;
  vm.Start();
  EXPECT_THROW(vm.machine->Start(), UsageError);
}

TEST_F(MachineLifeTest, PausesAmidAFaultStormStopTheFaultsAndLoseNothing) {
  MachineUnderTest vm(MachineUnderTest::Config(2));
  vm.Start();
  const auto device = vm.Plug("a", 256_MiB);
  vm.WaitForConsole("plugged");
  vm.Type(Command("fill", device.gpa));
  for (int i = 0; i < 10; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    vm.machine->Pause();
    ExpectFaultsToEnd(vm);
    vm.machine->Resume();
  }
  EXPECT_TRUE(vm.WaitForConsole("filled"));
  vm.Type(Command("check", device.gpa));
  EXPECT_TRUE(vm.WaitForConsole("check ok: 65536 pages good"));
  EXPECT_TRUE(vm.ComesToHold(256_MiB));
}

TEST_F(MachineLifeTest, AMachineThatIsDestroyedWhileItWorksEndsInOrder) {
  MachineUnderTest vm(MachineUnderTest::Config(2));
  vm.Start();
  const auto device = vm.Plug("a", 256_MiB);
  vm.WaitForConsole("plugged");
  vm.Type(Command("fill", device.gpa));
  vm.machine.reset();
  EXPECT_EQ(vm.EventsOf<ExitedEvent>().size(), 1u);
}

TEST_F(MachineLifeTest, AGuestWithAVeryLargeWindowUsesMemoryAtItsEnd) {
  MachineConfig config = MachineUnderTest::Config();
  config.memory.max = 300_GiB;
  MachineUnderTest vm(config);
  vm.Start();
  PlugRequest request;
  request.id = "far";
  request.size = 2_MiB;
  request.address = MemoryLayout::For(config.memory).window.end() - 2_MiB;
  vm.machine->PlugMemory(request);
  vm.WaitForConsole("plugged");
  vm.Type(Command("fill", {*request.address, 2_MiB}));
  EXPECT_TRUE(vm.WaitForConsole("filled"));
}

TEST_F(MachineLifeTest, EveryVcpuIsListedWithItsThread) {
  MachineUnderTest vm(MachineUnderTest::Config(3));
  vm.Start();
  const auto vcpus = vm.machine->Status().vcpus;
  ASSERT_EQ(vcpus.size(), 3u);
  for (unsigned i = 0; i < 3; ++i) EXPECT_EQ(vcpus[i].index, i);
  EXPECT_NE(vcpus[0].thread_id, 0);
}

}  // namespace
}  // namespace faultline
