// Every host call of start, plug and unplug fails once, and fails for good: a sentence, and nothing changed.
#include <linux/kvm.h>

#include <filesystem>

#include "guestmem/error.h"
#include "tests/guestmem/failing_host.h"
#include "tests/vmm/machine/machine_under_test.h"

namespace faultline {
namespace {

using std::chrono::seconds;

class MachineFailureTest : public testing::Test {
 protected:
  void SetUp() override { SKIP_WITHOUT_KVM(); }

  // Errno's that a host may give to almost any call: one that passes and one that does not.
  static constexpr int kErrors[] = {ENOMEM, EPERM};
  static constexpr uint64_t kOnce = 1, kForGood = 1ULL << 40;

  static size_t OpenDescriptors() {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }

  // Writes go to event counters alone, which the kernel never refuses for good.
  static HostCallFilter CallsThatMayFail() {
    return
        [mine = CallsOfThisThread()](const HostCall& call) { return mine(call) && call.kind != HostCallKind::kWrite; };
  }
};

TEST_F(MachineFailureTest, EachFailingCallOfSetUpIsAnErrorOrIsOutlastedAndLeaksNothing) {
  FailingHost host;
  uint64_t calls = 0;
  {
    host.Count(CallsThatMayFail());
    MachineUnderTest vm(MachineUnderTest::Config(2), host);
    calls = host.seen();
    vm.Start();
  }
  const size_t descriptors = OpenDescriptors();
  ASSERT_GT(calls, 10u);
  for (const int error : kErrors) {
    for (const uint64_t times : {kOnce, kForGood}) {
      for (uint64_t n = 1; n <= calls; ++n) {
        SCOPED_TRACE(testing::Message() << "call " << n << " of " << calls << " fails with " << error << ", " << times
                                        << " times");
        host.Arm(n, error, CallsThatMayFail(), times);
        try {
          MachineUnderTest vm(MachineUnderTest::Config(2), host);
          host.Disarm();
          vm.Start();
        } catch (const Error& e) {
          EXPECT_STRNE(e.what(), "");
        }
        host.Disarm();
        EXPECT_EQ(OpenDescriptors(), descriptors);
      }
    }
  }
}

TEST_F(MachineFailureTest, EachFailingCallOfAPlugLeavesTheMachineAsItWas) {
  FailingHost host;
  MachineUnderTest vm(MachineUnderTest::Config(), host);
  vm.Start();
  vm.Plug("first", 64_MiB);
  vm.WaitForConsole("plugged");
  EXPECT_EQ(vm.Unplug("first", /*force=*/true).outcome, UnplugOutcome::kDone);

  host.Count(CallsThatMayFail());
  vm.Plug("counted", 64_MiB);
  const uint64_t calls = host.seen();
  ASSERT_GE(calls, 3u);
  EXPECT_EQ(vm.Unplug("counted", /*force=*/true).outcome, UnplugOutcome::kDone);

  for (const int error : kErrors) {
    for (const uint64_t times : {kOnce, kForGood}) {
      for (uint64_t n = 1; n <= calls; ++n) {
        SCOPED_TRACE(testing::Message() << "call " << n << " of " << calls << " fails with " << error << ", " << times
                                        << " times");
        host.Arm(n, error, CallsThatMayFail(), times);
        bool plugged = false;
        try {
          vm.Plug("a", 64_MiB);
          plugged = true;
        } catch (const Error& e) {
          EXPECT_STRNE(e.what(), "");
        }
        host.Disarm();
        EXPECT_EQ(vm.machine->MemoryDevices().size(), plugged ? 1u : 0u);
        vm.ExpectBooksAgree();
        if (plugged) {
          EXPECT_EQ(vm.Unplug("a", /*force=*/true).outcome, UnplugOutcome::kDone);
        }
      }
    }
  }
  const auto device = vm.Plug("last", 64_MiB);
  vm.WaitForConsole("plugged");
  vm.Type(Command("fill", device.gpa));
  EXPECT_TRUE(vm.WaitForConsole("filled"));
}

TEST_F(MachineFailureTest, AFailedSlotDeletionRollsTheUnplugBackWithTheContentsWhole) {
  FailingHost host;
  MachineUnderTest vm(MachineUnderTest::Config(2), host);
  vm.Start();
  const auto device = vm.Plug("a", 64_MiB);
  vm.WaitForConsole("plugged");
  vm.Type(Command("fill", device.gpa));
  vm.WaitForConsole("filled");
  for (const bool force : {true, false}) {
    host.Arm(1, EIO, Ioctls(KVM_SET_USER_MEMORY_REGION), kForGood);
    const UnplugResult failed = vm.Unplug("a", force, seconds(60));
    EXPECT_GE(host.fired(), 1u);
    host.Disarm();
    EXPECT_EQ(failed.outcome, UnplugOutcome::kFailed);
    EXPECT_FALSE(failed.reason.empty());
    EXPECT_FALSE(vm.machine->MemoryDevices().at(0).unplugging);
    vm.ExpectBooksAgree();
    // A guest that had let go of it is given it back.
    if (!force) vm.WaitForConsole("handed back");
    vm.Type(Command("check", device.gpa));
    EXPECT_TRUE(vm.WaitForConsole("check ok"));
  }
  EXPECT_EQ(vm.Unplug("a", /*force=*/false, seconds(60)).outcome, UnplugOutcome::kDone);
}

TEST_F(MachineFailureTest, EachFailingCallOfAnUnplugIsOutlastedOrRolledBack) {
  FailingHost host;
  MachineUnderTest vm(MachineUnderTest::Config(), host);
  vm.Start();
  // The worker thread alone makes these calls; the guest is idle and the memory untouched or filled before.
  const auto plug_and_fill = [&] {
    const auto device = vm.Plug("a", 4_MiB);
    vm.WaitForConsole("plugged");
    vm.Type(Command("fill", device.gpa));
    vm.WaitForConsole("filled");
  };
  const HostCallFilter all_but_running = [](const HostCall& call) {
    return call.kind != HostCallKind::kPoll && call.kind != HostCallKind::kRead && call.detail != KVM_RUN;
  };
  plug_and_fill();
  vm.machine->Pause();
  host.Count(all_but_running);
  EXPECT_EQ(vm.Unplug("a", /*force=*/true).outcome, UnplugOutcome::kDone);
  const uint64_t calls = host.seen();
  host.Disarm();
  vm.machine->Resume();
  ASSERT_GE(calls, 1u);
  for (const uint64_t times : {kOnce, kForGood}) {
    for (uint64_t n = 1; n <= calls; ++n) {
      SCOPED_TRACE(testing::Message() << "call " << n << " of " << calls << ", " << times << " times");
      plug_and_fill();
      vm.machine->Pause();
      host.Arm(n, ENOMEM, all_but_running, times);
      const UnplugResult result = vm.Unplug("a", /*force=*/true);
      host.Disarm();
      vm.machine->Resume();
      vm.ExpectBooksAgree();
      if (result.outcome == UnplugOutcome::kDone) continue;
      EXPECT_EQ(result.outcome, UnplugOutcome::kFailed);
      EXPECT_FALSE(result.reason.empty());
      vm.Type(Command("check", vm.machine->MemoryDevices().at(0).gpa));
      EXPECT_TRUE(vm.WaitForConsole("check ok"));
      EXPECT_EQ(vm.Unplug("a", /*force=*/true).outcome, UnplugOutcome::kDone);
    }
  }
}

}  // namespace
}  // namespace faultline
