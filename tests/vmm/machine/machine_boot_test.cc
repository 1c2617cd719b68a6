// Machines that boot a kernel: how each kind of end is told, with both interrupt controllers.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "guestmem/error.h"
#include "tests/vmm/machine/machine_under_test.h"
#include "tests/vmm/machine/tiny_kernel.h"

namespace faultline {
namespace {

using testing::HasSubstr;

class MachineBootTest : public testing::TestWithParam<IrqChip> {
 protected:
  void SetUp() override { SKIP_WITHOUT_KVM(); }

  static MachineConfig Config(const TinyKernel& kernel) {
    MachineConfig config = MachineUnderTest::Config();
    config.boot.kernel = kernel.path();
    config.boot_irq_chip = GetParam();
    return config;
  }
  static ExitStatus RunToItsEnd(const MachineConfig& config) {
    MachineUnderTest test(config);
    test.machine->Start();
    return test.machine->WaitForExit();
  }
};

TEST_P(MachineBootTest, PowerOffIsACleanEnd) {
  const TinyKernel kernel(TinyKernel::WritePort(0x600, 5 << 2 | 1 << 5));
  const ExitStatus status = RunToItsEnd(Config(kernel));
  EXPECT_EQ(status.kind, ExitKind::kGuestHalt);
  EXPECT_EQ(status.code, 0);
  EXPECT_EQ(status.sentence, "the guest powered off");
}

TEST_P(MachineBootTest, TheResetRegisterAndTheKeyboardControllerReboot) {
  for (const auto& code : {TinyKernel::WritePort(0x602, 1), TinyKernel::WritePort(0x64, 0xfe)}) {
    const TinyKernel kernel(code);
    const ExitStatus status = RunToItsEnd(Config(kernel));
    EXPECT_EQ(status.kind, ExitKind::kReboot);
    EXPECT_EQ(status.code, exit_code::kReboot);
  }
}

TEST_P(MachineBootTest, APanicIsTold) {
  const TinyKernel kernel(TinyKernel::WritePort(0x505, 1));
  const ExitStatus status = RunToItsEnd(Config(kernel));
  EXPECT_EQ(status.kind, ExitKind::kPanic);
  EXPECT_EQ(status.code, exit_code::kPanic);
}

TEST_P(MachineBootTest, ATripleFaultIsACrashOfItsOwnCode) {
  const TinyKernel kernel({0x0f, 0x0b});  // ud2, without an IDT
  const ExitStatus status = RunToItsEnd(Config(kernel));
  EXPECT_EQ(status.kind, ExitKind::kCrash);
  EXPECT_EQ(status.code, exit_code::kTripleFault);
  EXPECT_THAT(status.sentence, HasSubstr("triple fault"));
}

TEST_P(MachineBootTest, DebugExitIsThereWhenAskedForAlone) {
  // Writes 3 to port 0xf4, then powers off.
  std::vector<uint8_t> code = TinyKernel::WritePort(0xf4, 3);
  code.resize(code.size() - 2);
  for (const uint8_t byte : TinyKernel::WritePort(0x600, 5 << 2 | 1 << 5)) code.push_back(byte);
  const TinyKernel kernel(code);
  MachineConfig config = Config(kernel);
  EXPECT_EQ(RunToItsEnd(config).sentence, "the guest powered off");
  config.devices.debug_exit = true;
  EXPECT_EQ(RunToItsEnd(config).code, 7);
}

TEST_P(MachineBootTest, TheSerialPortIsTheConsole) {
  std::vector<uint8_t> code = TinyKernel::WritePort(0x3f8, '!');
  const TinyKernel kernel(code);
  MachineUnderTest test(Config(kernel));
  test.machine->Start();
  EXPECT_TRUE(test.WaitForConsole("!"));
}

TEST_P(MachineBootTest, CannotBeSavedYetAndGoesOn) {
  const TinyKernel kernel(TinyKernel::WritePort(0x3f8, '!'));
  MachineUnderTest test(Config(kernel));
  test.machine->Start();
  EXPECT_TRUE(test.WaitForConsole("!"));
  test.machine->Pause();
  EXPECT_THROW(static_cast<void>(test.machine->SaveState()), UsageError);
  test.machine->Resume();
  EXPECT_EQ(test.machine->Status().state, RunState::kRunning);
}

TEST_P(MachineBootTest, AFileThatIsNoKernelIsRefusedBeforeAnythingRuns) {
  const TinyKernel kernel({});
  MachineConfig config = Config(kernel);
  config.boot.kernel = "/etc/hostname-that-is-not-there";
  EXPECT_THROW(MachineUnderTest{config}, Error);
}

TEST_P(MachineBootTest, OtherProcessorsWaitToBeStartedAndEndWithTheFirst) {
  const TinyKernel kernel(TinyKernel::WritePort(0x600, 5 << 2 | 1 << 5));
  MachineConfig config = Config(kernel);
  config.cpus = 4;
  EXPECT_EQ(RunToItsEnd(config).kind, ExitKind::kGuestHalt);
}

INSTANTIATE_TEST_SUITE_P(IrqChips, MachineBootTest, testing::Values(IrqChip::kSplit, IrqChip::kKernel),
                         [](const auto& chip) { return chip.param == IrqChip::kSplit ? "Split" : "Kernel"; });

}  // namespace
}  // namespace faultline
