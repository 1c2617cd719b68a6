// Memory that comes and goes under a running guest.
#include <atomic>

#include "guestmem/error.h"
#include "tests/vmm/machine/machine_under_test.h"

namespace faultline {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

class MachineMemoryTest : public testing::Test {
 protected:
  void SetUp() override { SKIP_WITHOUT_KVM(); }
};

TEST_F(MachineMemoryTest, PluggedMemoryIsUsedGivenUpOnRequestAndPluggedAgain) {
  MachineUnderTest vm;
  vm.Start();
  for (int i = 0; i < 3; ++i) {
    const auto device = vm.Plug("a", 64_MiB);
    EXPECT_EQ(device.gpa.start, Gpa((4_GiB).value));
    EXPECT_TRUE(vm.WaitForConsole("plugged"));
    vm.Type(Command("fill", device.gpa));
    EXPECT_TRUE(vm.WaitForConsole("filled"));
    EXPECT_TRUE(vm.ComesToHold(64_MiB));
    const UnplugResult result = vm.Unplug("a", /*force=*/false, seconds(60));
    EXPECT_EQ(result.outcome, UnplugOutcome::kDone) << result.reason;
    EXPECT_EQ(result.report.discarded, 64_MiB);
    EXPECT_TRUE(vm.machine->MemoryDevices().empty());
    vm.ExpectBooksAgree();
  }
  EXPECT_EQ(vm.EventsOf<MemoryPluggedEvent>().size(), 3u);
  EXPECT_EQ(vm.EventsOf<MemoryUnplugEvent>().size(), 3u);
  EXPECT_EQ(vm.machine->Status().unplugged_accesses, 0u);
}

TEST_F(MachineMemoryTest, ARefusalIsToldInWordsAndLeavesTheMemoryWithItsContents) {
  MachineUnderTest vm;
  vm.Start();
  const auto device = vm.Plug("a", 64_MiB);
  vm.WaitForConsole("plugged");
  vm.Type(Command("fill", device.gpa));
  vm.WaitForConsole("filled");
  vm.Type(Command("hold", device.gpa));
  vm.WaitForConsole("held");
  const UnplugResult refused = vm.Unplug("a", /*force=*/false, seconds(60));
  EXPECT_EQ(refused.outcome, UnplugOutcome::kRefused);
  EXPECT_EQ(refused.ost_status, 0x81u);
  EXPECT_THAT(refused.reason, HasSubstr("in use by application"));
  EXPECT_THAT(refused.reason, HasSubstr("--force"));
  EXPECT_FALSE(vm.machine->MemoryDevices().at(0).unplugging);
  vm.ExpectBooksAgree();
  vm.Type(Command("check", device.gpa));
  EXPECT_TRUE(vm.WaitForConsole("check ok"));
  vm.Type(Command("release", device.gpa));
  vm.WaitForConsole("faultline> ");
  EXPECT_EQ(vm.Unplug("a", /*force=*/false, seconds(60)).outcome, UnplugOutcome::kDone);
}

TEST_F(MachineMemoryTest, AGuestThatDoesNotAnswerInTimeKeepsItsMemory) {
  MachineUnderTest vm;
  vm.Start();
  const auto device = vm.Plug("a", 64_MiB);
  vm.WaitForConsole("plugged");
  vm.Type(Command("fill", device.gpa));
  vm.WaitForConsole("filled");
  vm.machine->Pause();
  const UnplugResult result = vm.Unplug("a", /*force=*/false, milliseconds(20));
  EXPECT_EQ(result.outcome, UnplugOutcome::kTimedOut);
  EXPECT_THAT(result.reason, HasSubstr("within 20 ms"));
  vm.machine->Resume();
  vm.Type(Command("check", device.gpa));
  EXPECT_TRUE(vm.WaitForConsole("check ok"));
  EXPECT_EQ(vm.machine->MemoryDevices().size(), 1u);
  vm.ExpectBooksAgree();
  EXPECT_EQ(vm.Unplug("a", /*force=*/false, seconds(60)).outcome, UnplugOutcome::kDone);
}

TEST_F(MachineMemoryTest, ForceTakesHeldMemoryEvenFromAPausedGuest) {
  MachineUnderTest vm;
  vm.Start();
  const auto device = vm.Plug("a", 64_MiB);
  vm.WaitForConsole("plugged");
  vm.Type(Command("hold", device.gpa));
  vm.WaitForConsole("held");
  vm.machine->Pause();
  const UnplugResult result = vm.Unplug("a", /*force=*/true);
  EXPECT_EQ(result.outcome, UnplugOutcome::kDone) << result.reason;
  EXPECT_TRUE(result.forced);
  vm.ExpectBooksAgree();
  vm.machine->Resume();
  EXPECT_TRUE(vm.WaitForConsole("gone"));
}

TEST_F(MachineMemoryTest, ForceOvertakesARequestThatStillWaitsForTheGuest) {
  MachineUnderTest vm;
  vm.Start();
  vm.Plug("a", 64_MiB);
  vm.machine->Pause();
  vm.BeginUnplug("a", /*force=*/false);
  EXPECT_TRUE(vm.machine->MemoryDevices().at(0).unplugging);
  vm.BeginUnplug("a", /*force=*/true);
  EXPECT_EQ(vm.WaitForUnplug().outcome, UnplugOutcome::kDone);
  EXPECT_EQ(vm.WaitForUnplug().outcome, UnplugOutcome::kDone);
  EXPECT_EQ(vm.EventsOf<MemoryUnplugEvent>().size(), 1u);
}

TEST_F(MachineMemoryTest, ForcedUnplugUnderAWritingGuestIsCountedAndSurvived) {
  MachineUnderTest vm(MachineUnderTest::Config(2));
  vm.Start();
  const auto device = vm.Plug("a", 512_MiB);
  vm.WaitForConsole("plugged");
  vm.Type(Command("fill", device.gpa));
  while (vm.machine->MemoryDevices().at(0).present < 16_MiB) std::this_thread::yield();
  const UnplugResult result = vm.Unplug("a", /*force=*/true);
  EXPECT_EQ(result.outcome, UnplugOutcome::kDone) << result.reason;
  EXPECT_TRUE(vm.WaitForConsole("gone"));
  vm.ExpectBooksAgree();
  vm.Plug("b", 64_MiB);
  EXPECT_TRUE(vm.WaitForConsole("plugged"));
}

TEST_F(MachineMemoryTest, ManyDevicesComeAndGoAtOnce) {
  MachineUnderTest vm(MachineUnderTest::Config(2));
  vm.Start();
  for (int round = 0; round < 5; ++round) {
    for (const char* id : {"a", "b", "c", "d"}) vm.Plug(id, 32_MiB);
    EXPECT_THROW(vm.Plug("e", 32_MiB), UsageError);
    for (const char* id : {"a", "b", "c", "d"}) vm.BeginUnplug(id, round % 2 == 0, seconds(60));
    for (int i = 0; i < 4; ++i) EXPECT_EQ(vm.WaitForUnplug().outcome, UnplugOutcome::kDone);
    vm.ExpectBooksAgree();
  }
}

TEST_F(MachineMemoryTest, RequestsThatMakeNoSenseAreRefusedAndChangeNothing) {
  MachineUnderTest vm;
  vm.Start();
  vm.Plug("a", 64_MiB);
  vm.machine->Pause();
  EXPECT_THROW(vm.BeginUnplug("nobody", true), UsageError);
  EXPECT_THROW(vm.BeginUnplug("boot", true), UsageError);
  EXPECT_THROW(vm.BeginUnplug("", true), UsageError);
  vm.BeginUnplug("a", /*force=*/false);
  EXPECT_THROW(vm.BeginUnplug("a", /*force=*/false), UsageError) << "twice";
  EXPECT_THROW(vm.Plug("a", 64_MiB), UsageError);
  vm.ExpectBooksAgree();
  vm.machine->Resume();
  EXPECT_EQ(vm.WaitForUnplug().outcome, UnplugOutcome::kDone);
}

TEST_F(MachineMemoryTest, PinnedMemoryStaysAndItsHolderIsNamed) {
  MachineUnderTest vm;
  vm.Start();
  const auto device = vm.Plug("a", 64_MiB);
  vm.WaitForConsole("plugged");
  {
    AccessResult why{};
    const Pin pin = vm.machine->memory().PinRange({device.gpa.start, 4_KiB}, true, "a test", &why);
    ASSERT_TRUE(pin);
    UnplugRequest request;
    request.id = "a";
    request.force = true;
    request.pin_deadline = milliseconds(1);
    vm.machine->UnplugMemory(request);
    EXPECT_TRUE(vm.WaitForEvents<MemoryUnplugEvent>(1));
    const auto result = vm.EventsOf<MemoryUnplugEvent>().at(0).result;
    EXPECT_EQ(result.outcome, UnplugOutcome::kFailed);
    EXPECT_THAT(result.reason, HasSubstr("a test"));
    EXPECT_EQ(vm.machine->MemoryDevices().at(0).pins, 1u);
  }
  vm.ExpectBooksAgree();
  vm.Type(Command("fill", device.gpa));
  EXPECT_TRUE(vm.WaitForConsole("filled"));
  EXPECT_EQ(vm.Unplug("a", /*force=*/false, seconds(60)).outcome, UnplugOutcome::kDone);
}

TEST_F(MachineMemoryTest, AnUnplugThatWaitsForTheGuestIsCancelledWhenTheMachineEnds) {
  MachineUnderTest vm;
  vm.Start();
  vm.Plug("a", 64_MiB);
  vm.machine->Pause();
  vm.BeginUnplug("a", /*force=*/false);
  vm.machine->Stop();
  const UnplugResult result = vm.WaitForUnplug();
  EXPECT_EQ(result.outcome, UnplugOutcome::kCancelled);
  EXPECT_THAT(result.reason, HasSubstr("'a'"));
}

// Answers when the test says so.
class GatedSource final : public PageSource {
 public:
  bool may_block() const noexcept override { return true; }
  const std::byte* Direct(Bytes, Bytes) noexcept override { return nullptr; }
  int Read(Bytes, std::span<std::byte> out) noexcept override {
    asked = true;
    open.wait(false);
    std::fill(out.begin(), out.end(), std::byte{0});
    return 0;
  }
  std::atomic<bool> asked{false};
  std::atomic<bool> open{false};
};

TEST_F(MachineMemoryTest, UnplugDoesNotWaitForASourceThatAVcpuWaitsFor) {
  MachineUnderTest vm;
  vm.Start();
  const auto source = std::make_shared<GatedSource>();
  // The guest looks into what was plugged, and hangs there.
  vm.Plug("slow", 64_MiB, source);
  while (!source->asked) std::this_thread::yield();
  const UnplugResult result = vm.Unplug("slow", /*force=*/true);
  EXPECT_EQ(result.outcome, UnplugOutcome::kDone) << result.reason;
  vm.ExpectBooksAgree();
  vm.Type("mem");
  EXPECT_TRUE(vm.WaitForConsole("total"));
  source->open = true;
  source->open.notify_all();
}

TEST_F(MachineMemoryTest, PlugAndUnplugDoNotWaitForAVcpuThatSleepsInOtherMemory) {
  MachineUnderTest vm;
  vm.Start();
  vm.Plug("other", 64_MiB);
  vm.WaitForConsole("plugged");
  const auto source = std::make_shared<GatedSource>();
  vm.Plug("slow", 64_MiB, source);
  while (!source->asked) std::this_thread::yield();
  EXPECT_EQ(vm.Unplug("other", /*force=*/true).outcome, UnplugOutcome::kDone);
  vm.Plug("another", 64_MiB);
  EXPECT_EQ(vm.machine->Status().state, RunState::kRunning);
  source->open = true;
  source->open.notify_all();
  EXPECT_TRUE(vm.WaitForConsole("plugged"));
}

TEST_F(MachineMemoryTest, AMachineWhoseVcpuWaitsForASourceIsPausedAndStopped) {
  MachineUnderTest vm;
  vm.Start();
  const auto source = std::make_shared<GatedSource>();
  vm.Plug("slow", 64_MiB, source);
  while (!source->asked) std::this_thread::yield();
  vm.machine->Pause();
  vm.machine->Resume();
  vm.machine->Stop();
  source->open = true;
  source->open.notify_all();
}

}  // namespace
}  // namespace faultline
