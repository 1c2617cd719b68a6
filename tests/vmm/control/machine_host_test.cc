// A reset: one machine ends and another one like it begins.
#include "vmm/control/machine_host.h"

#include <gtest/gtest.h>

#include "tests/vmm/machine/machine_under_test.h"

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

}  // namespace
}  // namespace faultline
