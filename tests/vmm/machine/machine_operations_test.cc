// Unplugs as operations: watched, withdrawn, and with guests that do not answer or answer nonsense.
#include <algorithm>

#include "guestmem/error.h"
#include "tests/vmm/machine/machine_under_test.h"
#include "tests/vmm/machine/tiny_kernel.h"

namespace faultline {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

class MachineOperationsTest : public testing::Test {
 protected:
  void SetUp() override { SKIP_WITHOUT_KVM(); }

  static UnplugOperationInfo Only(const MachineUnderTest& vm) {
    const auto operations = vm.machine->MemoryOperations();
    EXPECT_EQ(operations.size(), 1u);
    return operations.empty() ? UnplugOperationInfo{} : operations.back();
  }
  // A PC whose kernel does nothing but run `code`.
  static MachineConfig Pc(const TinyKernel& kernel) {
    MachineConfig config = MachineUnderTest::Config();
    config.boot.kernel = kernel.path();
    return config;
  }
};

TEST_F(MachineOperationsTest, ARequestThatIsWithdrawnLeavesTheMemoryWithItsContents) {
  MachineUnderTest vm;
  vm.Start();
  const auto device = vm.Plug("a", 64_MiB);
  vm.WaitForConsole("plugged");
  vm.Type(Command("fill", device.gpa));
  vm.WaitForConsole("filled");
  vm.machine->Pause();
  vm.BeginUnplug("a", /*force=*/false);
  const UnplugOperationInfo operation = Only(vm);
  EXPECT_EQ(operation.id, "a");
  EXPECT_EQ(operation.gpa, device.gpa);
  EXPECT_LE(operation.stage, UnplugStage::kAsked) << "a paused guest sees nothing";
  EXPECT_FALSE(operation.time_left) << "no deadline";
  EXPECT_FALSE(operation.result);
  vm.machine->CancelUnplug(operation.operation);
  const UnplugResult result = vm.WaitForUnplug();
  EXPECT_EQ(result.outcome, UnplugOutcome::kWithdrawn);
  EXPECT_EQ(result.operation, operation.operation);
  EXPECT_THAT(result.reason, HasSubstr("withdrawn"));
  EXPECT_FALSE(vm.machine->MemoryDevices().at(0).unplugging);
  vm.machine->Resume();
  vm.Type(Command("check", device.gpa));
  EXPECT_TRUE(vm.WaitForConsole("check ok"));
  vm.ExpectBooksAgree();
  EXPECT_THROW(vm.machine->CancelUnplug(operation.operation), UsageError) << "it has ended";
  EXPECT_EQ(vm.Unplug("a", /*force=*/false, seconds(60)).outcome, UnplugOutcome::kDone);
}

TEST_F(MachineOperationsTest, AnOperationTellsEachStageOnceAndItsOutcomeAfterwards) {
  MachineUnderTest vm;
  vm.Start();
  vm.Plug("a", 64_MiB);
  vm.WaitForConsole("plugged");
  const UnplugResult result = vm.Unplug("a", /*force=*/false, seconds(60));
  EXPECT_EQ(result.outcome, UnplugOutcome::kDone);
  EXPECT_GT(result.guest_ns, 0u);
  const UnplugOperationInfo ended = Only(vm);
  ASSERT_TRUE(ended.result);
  EXPECT_EQ(ended.result->outcome, UnplugOutcome::kDone);
  EXPECT_EQ(ended.stage, UnplugStage::kRemoving);
  std::vector<UnplugStage> stages;
  for (const auto& event : vm.EventsOf<MemoryProgressEvent>()) {
    EXPECT_EQ(event.operation, result.operation);
    stages.push_back(event.stage);
  }
  EXPECT_EQ(std::ranges::count(stages, UnplugStage::kAsked), 1);
  EXPECT_EQ(std::ranges::count(stages, UnplugStage::kNoticed), 1);
  EXPECT_EQ(std::ranges::count(stages, UnplugStage::kEmptying), 1);
  EXPECT_EQ(std::ranges::count(stages, UnplugStage::kRemoving), 1);
}

TEST_F(MachineOperationsTest, TheLastSixteenThatEndedAreRemembered) {
  MachineUnderTest vm;
  vm.Start();
  for (int i = 0; i < 20; ++i) {
    vm.Plug("a", 2_MiB);
    EXPECT_EQ(vm.Unplug("a", /*force=*/true).outcome, UnplugOutcome::kDone);
  }
  const auto operations = vm.machine->MemoryOperations();
  ASSERT_EQ(operations.size(), 16u);
  EXPECT_EQ(operations.front().operation, 5u);
  EXPECT_EQ(operations.back().operation, 20u);
}

TEST_F(MachineOperationsTest, WhatIsNoOperationCannotBeWithdrawn) {
  MachineUnderTest vm;
  for (const uint64_t number : {uint64_t{0}, uint64_t{1}, ~uint64_t{0}}) {
    EXPECT_THROW(vm.machine->CancelUnplug(number), UsageError) << number;
  }
}

TEST_F(MachineOperationsTest, AGuestWithoutADriverIsSaidNotToHaveLooked) {
  const TinyKernel kernel({0xeb, 0xfe});  // jmp to itself
  MachineUnderTest vm(Pc(kernel));
  vm.machine->Start();
  vm.Plug("a", 128_MiB);
  const UnplugResult result = vm.Unplug("a", /*force=*/false, milliseconds(50));
  EXPECT_EQ(result.outcome, UnplugOutcome::kTimedOut);
  EXPECT_EQ(result.stage, UnplugStage::kAsked);
  EXPECT_THAT(result.reason, HasSubstr("did not look"));
  vm.ExpectBooksAgree();
  vm.BeginUnplug("a", /*force=*/false);
  vm.machine->CancelUnplug(result.operation + 1);
  EXPECT_EQ(vm.WaitForUnplug().outcome, UnplugOutcome::kWithdrawn);
  EXPECT_EQ(vm.Unplug("a", /*force=*/true).outcome, UnplugOutcome::kDone);
  vm.ExpectBooksAgree();
}

TEST_F(MachineOperationsTest, AGuestThatIsAtItForEverRunsIntoTheDeadline) {
  // Selects slot 0 and reports "ejection in progress", again and again.
  const TinyKernel kernel({0x66, 0xba, 0x00, 0x0a,  // mov dx, 0xa00
                           0x31, 0xc0, 0xef,        // xor eax, eax; out dx, eax
                           0xb2, 0x04, 0xb0, 0x03, 0xef, 0xb2, 0x08, 0xb0, 0x84, 0xef, 0xeb, 0xed});
  MachineUnderTest vm(Pc(kernel));
  vm.machine->Start();
  vm.Plug("a", 128_MiB);
  vm.BeginUnplug("a", /*force=*/false, seconds(1));
  const UnplugResult result = vm.WaitForUnplug();
  EXPECT_EQ(result.outcome, UnplugOutcome::kTimedOut);
  EXPECT_EQ(result.stage, UnplugStage::kEmptying);
  EXPECT_THAT(result.reason, HasSubstr("said that it was at it"));
  vm.ExpectBooksAgree();
}

TEST_F(MachineOperationsTest, AGuestThatEjectsWhatNobodyAskedForAndReportsNonsenseHarmsNobody) {
  // Selects slots 0 to 255 in turn, reports event and status of its own making and ejects.
  const TinyKernel kernel({0x31, 0xc9,                                      // xor ecx, ecx
                           0x66, 0xba, 0x00, 0x0a,                          // mov dx, 0xa00
                           0x89, 0xc8, 0xef,                                // mov eax, ecx; out dx, eax
                           0xb2, 0x04, 0x35, 0x5a, 0xa5, 0x00, 0xff, 0xef,  // mov dl, 4; xor eax, …; out dx, eax
                           0xb2, 0x08, 0xef,                                // mov dl, 8; out dx, eax
                           0xb2, 0x14, 0xb0, 0x08, 0xee,                    // mov dl, 0x14; mov al, 8; out dx, al
                           0xfe, 0xc1, 0xeb, 0xe5});                        // inc cl; jmp
  MachineUnderTest vm(Pc(kernel));
  vm.machine->Start();
  for (int i = 0; i < 3; ++i) {
    vm.Plug("a", 2_MiB);
    EXPECT_TRUE(vm.WaitForEvents<MemoryUnplugEvent>(static_cast<size_t>(i) + 1)) << "the guest gives it back itself";
  }
  EXPECT_TRUE(vm.machine->MemoryDevices().empty());
  vm.ExpectBooksAgree();
  EXPECT_EQ(vm.machine->Status().state, RunState::kRunning);
}

}  // namespace
}  // namespace faultline
