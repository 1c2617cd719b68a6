// What an access to unplugged memory meets, and pages that cannot be had.
#include <atomic>

#include "guestmem/error.h"
#include "tests/vmm/machine/machine_under_test.h"

namespace faultline {
namespace {

using testing::HasSubstr;

constexpr char kHole[] = "0x140000000";
constexpr Gpa kHoleAddress{0x140000000};

class MachinePolicyTest : public testing::Test {
 protected:
  void SetUp() override { SKIP_WITHOUT_KVM(); }
  static MachineConfig Config(UnpluggedPolicy policy) {
    MachineConfig config = MachineUnderTest::Config();
    config.memory.max = 4_GiB;
    config.on_unplugged_access = policy;
    return config;
  }
};

TEST_F(MachinePolicyTest, OnesAnswersAndReportsWithVcpuRipAndAddress) {
  MachineUnderTest vm(Config(UnpluggedPolicy::kOnes));
  vm.Start();
  vm.Type(std::string("peek ") + kHole);
  EXPECT_TRUE(vm.WaitForConsole("0xffffffffffffffff"));
  ASSERT_TRUE(vm.WaitForEvents<UnpluggedAccessEvent>(1));
  const auto event = vm.EventsOf<UnpluggedAccessEvent>().at(0);
  EXPECT_EQ(event.vcpu, 0u);
  EXPECT_EQ(event.gpa, kHoleAddress);
  EXPECT_EQ(event.size, 8u);
  EXPECT_FALSE(event.write);
  EXPECT_GE(event.rip, 0x10000u);
  EXPECT_LT(event.rip, 0x80000u);
  EXPECT_EQ(vm.machine->Status().state, RunState::kRunning);
  EXPECT_GE(vm.machine->Status().unplugged_accesses, 1u);
}

TEST_F(MachinePolicyTest, OnesDropsWrites) {
  MachineUnderTest vm(Config(UnpluggedPolicy::kOnes));
  vm.Start();
  vm.Type(std::string("poke ") + kHole + " 5");
  ASSERT_TRUE(vm.WaitForEvents<UnpluggedAccessEvent>(1));
  EXPECT_TRUE(vm.EventsOf<UnpluggedAccessEvent>().at(0).write);
  PlugRequest request;
  request.id = "a";
  request.size = 2_MiB;
  request.address = kHoleAddress;
  vm.machine->PlugMemory(request);
  vm.WaitForConsole("plugged");
  uint64_t value = 1;
  EXPECT_EQ(vm.machine->memory().Read(kHoleAddress, std::as_writable_bytes(std::span(&value, 1))), AccessResult::kOk);
  EXPECT_EQ(value, 0u);
}

TEST_F(MachinePolicyTest, LogReportsEveryAccess) {
  MachineUnderTest vm(Config(UnpluggedPolicy::kLog));
  vm.Start();
  for (int i = 0; i < 5; ++i) {
    vm.Type(std::string("peek ") + kHole);
    vm.WaitForConsole("faultline> ");
  }
  EXPECT_EQ(vm.EventsOf<UnpluggedAccessEvent>().size(), 5u);
}

TEST_F(MachinePolicyTest, StopPausesWithTheReasonAndResumeGoesOnAsIfEmpty) {
  MachineUnderTest vm(Config(UnpluggedPolicy::kStop));
  vm.Start();
  vm.Type(std::string("peek ") + kHole);
  ASSERT_TRUE(vm.WaitForEvents<PausedEvent>(1));
  const auto paused = vm.EventsOf<PausedEvent>().at(0);
  EXPECT_EQ(paused.reason, PauseReason::kUnpluggedAccess);
  EXPECT_THAT(paused.sentence, HasSubstr("vCPU 0 read from guest-physical 0x140000000"));
  EXPECT_EQ(vm.machine->Status().pause_reason, PauseReason::kUnpluggedAccess);
  EXPECT_EQ(vm.EventsOf<UnpluggedAccessEvent>().size(), 1u);
  vm.machine->Resume();
  EXPECT_TRUE(vm.WaitForConsole("0xffffffffffffffff"));
}

// Fails until it is mended.
class BrokenSource final : public PageSource {
 public:
  bool may_block() const noexcept override { return true; }
  const std::byte* Direct(Bytes, Bytes) noexcept override { return nullptr; }
  int Read(Bytes, std::span<std::byte> out) noexcept override {
    if (!mended) return -EIO;
    std::fill(out.begin(), out.end(), std::byte{0x11});
    return 0;
  }
  std::atomic<bool> mended{false};
};

TEST_F(MachinePolicyTest, AFailingSourcePausesTheMachineAndResumeTriesAgain) {
  MachineUnderTest vm(Config(UnpluggedPolicy::kOnes));
  vm.Start();
  const auto source = std::make_shared<BrokenSource>();
  // The guest looks into what was plugged before it tells of it.
  const auto device = vm.Plug("a", 2_MiB, source);
  ASSERT_TRUE(vm.WaitForEvents<PausedEvent>(1));
  EXPECT_EQ(vm.EventsOf<PausedEvent>().at(0).reason, PauseReason::kIoError);
  vm.machine->Pause();

  vm.machine->Resume();
  ASSERT_TRUE(vm.WaitForEvents<PausedEvent>(2)) << "still broken: it pauses again";

  source->mended = true;
  vm.machine->Resume();
  vm.WaitForConsole("plugged");
  vm.Type("peek " + HexText(device.gpa.start));
  EXPECT_TRUE(vm.WaitForConsole("0x1111111111111111"));
  EXPECT_EQ(vm.machine->Status().unplugged_accesses, 0u);
}

}  // namespace
}  // namespace faultline
