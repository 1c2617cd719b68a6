// x-faultline-xml: the VM as it is now, for somebody in another directory.
#include <gmock/gmock.h>

#include <filesystem>

#include "tests/vmm/control/command_runner.h"
#include "tests/vmm/control/fake_balloon.h"
#include "vmm/domain_xml/domain.h"

namespace faultline {
namespace {

using testing::HasSubstr;

class XmlCommand : public CommandRunner {
 protected:
  XmlCommand() { vm_.surroundings().restart_on_reboot = true; }
  Domain Described() { return ReadDomain(Run("x-faultline-xml").at("xml").get<std::string>()); }
};

TEST_F(XmlCommand, DescribesWhatIsPluggedAndAskedOfTheGuestNow) {
  FakeBalloon balloon;
  vm_.SetBalloon(&balloon);
  balloon.SetTarget(32_MiB);
  vm_.config().boot.kernel = "/k";
  vm_.config().memory.virtio_mem.push_back(
      {.id = "vmem0", .size = 1_GiB, .requested = {}, .block = {}, .backing = {}, .pci_place = {}});
  vm_.mems.push_back({.id = "vmem0", .region = {}, .block = 2_MiB, .backing = {}, .state = {}, .present = {}});
  vm_.mems[0].state.requested = 512_MiB;
  vm_.PlugMemory({.id = "late", .size = 128_MiB, .slot = 2, .address = {}, .backing = {}, .source = nullptr});
  const Domain domain = Described();
  EXPECT_TRUE(domain.restart_on_reboot);
  ASSERT_EQ(domain.dimms.size(), 1U);
  EXPECT_EQ(domain.dimms[0].id, "late");
  EXPECT_EQ(domain.dimms[0].slot, 2U);
  EXPECT_EQ(domain.dimms[0].address, vm_.devices[0].gpa.start);
  EXPECT_EQ(domain.machine.memory.virtio_mem.at(0).requested, 512_MiB);
  EXPECT_EQ(domain.machine.balloon->target, 32_MiB);
  EXPECT_EQ(domain.machine.memory.boot, 256_MiB);
  EXPECT_EQ(domain.machine.memory.max, 4_GiB);
}

TEST_F(XmlCommand, NamesFilesByTheirWholePaths) {
  const std::string here = std::filesystem::current_path();
  vm_.config().boot.kernel = "vmlinux";
  vm_.config().boot.initrd = "../initrd";
  vm_.config().devices.disks.emplace_back().path = "./disk.raw";
  vm_.surroundings().console = "socket:console";
  const Domain domain = Described();
  EXPECT_EQ(domain.machine.boot.kernel, here + "/vmlinux");
  EXPECT_EQ(domain.machine.boot.initrd, (std::filesystem::path(here).parent_path() / "initrd").string());
  EXPECT_EQ(domain.machine.devices.disks.at(0).path, here + "/disk.raw");
  EXPECT_EQ(domain.console, "socket:" + here + "/console");
}

TEST_F(XmlCommand, AsksForAPseudoTerminalNotForTheOneThatIsThere) {
  vm_.surroundings().console = "pty:/dev/pts/7";
  EXPECT_EQ(Described().console, "pty");
}

TEST_F(XmlCommand, RefusesAVmThatAnotherProgramDescribes) {
  vm_.surroundings().restart_on_reboot.reset();
  EXPECT_THAT(Error("x-faultline-xml"), HasSubstr("virsh dumpxml"));
}

TEST_F(XmlCommand, RefusesANameThatXmlCannotHold) {
  vm_.config().boot.kernel = "/vm\nlinux";
  EXPECT_THAT(Error("x-faultline-xml"), HasSubstr("<kernel>"));
}

}  // namespace
}  // namespace faultline
