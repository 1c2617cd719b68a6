// A reset: one machine ends and another one like it begins.
#include "vmm/control/machine_host.h"

#include <gtest/gtest.h>

#include "tests/vmm/machine/machine_under_test.h"
#include "tests/vmm/machine/tiny_kernel.h"

namespace faultline {
namespace {

TEST(MachineHost, AResetLeavesPluggedMemoryWhereItWas) {
  SKIP_WITHOUT_KVM();
  MachineConfig config = MachineUnderTest::Config();
  config.memory.nodes = 2;
  MachineHost host(config, [](const MachineEvent&) {});
  PlugRequest request;
  request.id = "dimm";
  request.size = 128_MiB;
  request.slot = 2;
  request.node = 1;
  request.hotplugged = false;
  const MemoryDeviceInfo before = host.machine().PlugMemory(request);
  host.Restart(/*paused=*/true);
  const std::vector<MemoryDeviceInfo> after = host.machine().MemoryDevices();
  ASSERT_EQ(after.size(), 1u);
  EXPECT_EQ(after[0].id, "dimm");
  EXPECT_EQ(after[0].slot, 2u);
  EXPECT_EQ(after[0].node, 1u);
  EXPECT_EQ(after[0].gpa, before.gpa);
  EXPECT_FALSE(after[0].hotplugged);
}

TEST(MachineHost, AResetLeavesWhatIsAskedOfTheBalloon) {
  SKIP_WITHOUT_KVM();
  MachineConfig config = MachineUnderTest::Config();
  config.balloon.emplace();
  MachineHost host(config, [](const MachineEvent&) {});
  host.machine().balloon()->SetTarget(4_MiB);
  host.machine().balloon()->SetStatisticsInterval(std::chrono::seconds(5));
  host.Restart(/*paused=*/true);
  EXPECT_EQ(host.machine().balloon()->state().target, 4_MiB);
  EXPECT_EQ(host.machine().balloon()->statistics_interval(), std::chrono::seconds(5));
}

TEST(MachineHost, AResetAsksTheSameOfVirtioMemAndTheBalloon) {
  SKIP_WITHOUT_KVM();
  const TinyKernel kernel({0xeb, 0xfe});  // jmp: for ever
  MachineConfig config = MachineUnderTest::Config();
  config.boot.kernel = kernel.path();
  VirtioMemOptions first;
  first.id = "vmem0";
  first.size = 64_MiB;
  VirtioMemOptions second = first;
  second.id = "vmem1";
  second.requested = 4_MiB;
  config.memory.virtio_mem = {first, second};
  config.balloon.emplace();
  MachineHost host(config, [](const MachineEvent&) {});
  host.machine().ResizeVirtioMem("vmem0", 32_MiB);
  host.machine().balloon()->SetTarget(8_MiB);
  host.machine().balloon()->SetStatisticsInterval(std::chrono::seconds(5));
  host.Restart(/*paused=*/true);
  const std::vector<VirtioMemInfo> mems = host.machine().VirtioMemDevices();
  ASSERT_EQ(mems.size(), 2u);
  EXPECT_EQ(mems[0].state.requested, 32_MiB);
  EXPECT_EQ(mems[0].state.plugged, Bytes(0)) << "the next guest takes it by itself";
  EXPECT_EQ(mems[1].state.requested, 4_MiB);
  EXPECT_EQ(host.machine().balloon()->state().target, 8_MiB);
  EXPECT_EQ(host.machine().balloon()->statistics_interval(), std::chrono::seconds(5));
}

}  // namespace
}  // namespace faultline
