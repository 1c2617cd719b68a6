// A domain as `virt-install --print-xml` writes it for a kernel that is booted directly.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guestmem/error.h"
#include "vmm/domain_xml/domain.h"

namespace faultline {
namespace {

using testing::HasSubstr;

constexpr char kUsb[] = "    <controller type=\"usb\" model=\"qemu-xhci\" ports=\"15\"/>\n";
constexpr char kAgent[] = R"(    <channel type="unix">
      <source mode="bind"/>
      <target type="virtio" name="org.qemu.guest_agent.0"/>
    </channel>
)";

// virt-install --name demo --memory 1024 --vcpus 2 --import --disk demo.raw,format=raw --network user
//   --graphics none --os-variant debian11 --boot kernel=…,initrd=…,kernel_args=… --print-xml
std::string Printed(const std::string& usb = kUsb, const std::string& channel = kAgent) {
  return R"(<domain type="kvm">
  <name>demo</name>
  <uuid>8ad9bd01-a0c5-4b44-8e2c-5e4ba44e7a0f</uuid>
  <metadata>
    <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0">
      <libosinfo:os id="http://debian.org/debian/11"/>
    </libosinfo:libosinfo>
  </metadata>
  <memory>1048576</memory>
  <currentMemory>1048576</currentMemory>
  <vcpu>2</vcpu>
  <os>
    <type arch="x86_64" machine="q35">hvm</type>
    <boot dev="hd"/>
    <kernel>/srv/vmlinuz</kernel>
    <initrd>/srv/initrd.img</initrd>
    <cmdline>console=ttyS0 root=/dev/vda1</cmdline>
  </os>
  <features>
    <acpi/>
    <apic/>
  </features>
  <cpu mode="host-passthrough"/>
  <clock offset="utc">
    <timer name="rtc" tickpolicy="catchup"/>
    <timer name="pit" tickpolicy="delay"/>
    <timer name="hpet" present="no"/>
  </clock>
  <pm>
    <suspend-to-mem enabled="no"/>
    <suspend-to-disk enabled="no"/>
  </pm>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw" discard="unmap"/>
      <source file="/srv/demo.raw"/>
      <target dev="vda" bus="virtio"/>
    </disk>
)" + usb +
         R"(    <controller type="pci" model="pcie-root"/>
    <controller type="pci" model="pcie-root-port"/>
    <controller type="pci" model="pcie-root-port"/>
    <interface type="user">
      <mac address="52:54:00:2f:8b:11"/>
      <model type="virtio"/>
    </interface>
    <console type="pty"/>
)" + channel +
         R"(    <memballoon model="virtio"/>
    <rng model="virtio">
      <backend model="random">/dev/urandom</backend>
    </rng>
  </devices>
</domain>
)";
}

std::string RefusalOf(const std::string& xml) {
  try {
    ReadDomain(xml);
  } catch (const UsageError& e) {
    return e.what();
  }
  return "none";
}

TEST(VirtInstall, IsToldWhichElementToLeaveOut) {
  // With --controller usb,model=none and --channel none it writes neither.
  EXPECT_EQ(RefusalOf(Printed()), "<domain><devices><controller>: type='usb' is not supported; write model='none'");
  EXPECT_EQ(RefusalOf(Printed("")), "<domain><devices><channel>: this element is not supported; remove it");
  EXPECT_EQ(RefusalOf(Printed("    <controller type=\"usb\" model=\"none\"/>\n", "")), "none");
}

TEST(VirtInstall, DescribesAVmThatBootsAKernel) {
  const Domain domain = ReadDomain(Printed("", ""));
  const MachineConfig& machine = domain.machine;
  EXPECT_EQ(machine.name, "demo");
  EXPECT_EQ(machine.cpus, 2U);
  EXPECT_EQ(machine.memory.boot, 1_GiB);
  EXPECT_EQ(machine.memory.slots, 0U);
  EXPECT_EQ(machine.boot.kernel, "/srv/vmlinuz");
  EXPECT_EQ(machine.boot.initrd, "/srv/initrd.img");
  EXPECT_EQ(machine.boot.command_line, "console=ttyS0 root=/dev/vda1");
  EXPECT_EQ(machine.irq_chip(), IrqChip::kSplit);
  ASSERT_EQ(machine.devices.disks.size(), 1U);
  EXPECT_EQ(machine.devices.disks[0].path, "/srv/demo.raw");
  ASSERT_EQ(machine.devices.net_cards.size(), 1U);
  EXPECT_EQ(machine.devices.net_cards[0].mac->back(), 0x11);
  EXPECT_TRUE(machine.devices.root_ports.empty()) << "room for devices that are hot-plugged, of which there are none";
  EXPECT_TRUE(machine.devices.rng);
  EXPECT_FALSE(machine.devices.console);
  ASSERT_TRUE(machine.balloon);
  EXPECT_EQ(machine.balloon->target, Bytes(0));
  EXPECT_EQ(domain.console, "pty") << "a lone <console> is the serial port";
  EXPECT_TRUE(domain.restart_on_reboot) << "as with libvirt";
}

TEST(VirtInstall, MayHaveBeenThroughLibvirtWhichAddsBusesAndAddresses) {
  const auto port = [](int index, int slot, int function) {
    return "<controller type='pci' index='" + std::to_string(index) + R"(' model='pcie-root-port'>
      <model name='pcie-root-port'/><target chassis=')" +
           std::to_string(index) +
           "' port='0x10'/><alias name='pci.1'/><address type='pci' domain='0x0000' bus='0x00' slot='" +
           std::to_string(slot) + "' function='0x" + std::to_string(function) + "' multifunction='on'/></controller>";
  };
  const Domain domain = ReadDomain(R"(<domain type='kvm' id='3'>
  <name>demo</name>
  <memory unit='KiB'>1048576</memory>
  <currentMemory unit='KiB'>524288</currentMemory>
  <vcpu placement='static'>2</vcpu>
  <resource><partition>/machine</partition></resource>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><kernel>/k</kernel></os>
  <cpu mode='host-passthrough' check='none' migratable='on'/>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='/d.raw' index='1'/><backingStore/>
      <target dev='vda' bus='virtio'/><alias name='virtio-disk0'/>
      <address type='pci' domain='0x0000' bus='0x02' slot='0x00' function='0x0'/>
    </disk>)" + port(2, 2, 1) + port(1, 2, 0) +
                                   R"(
    <controller type='pci' index='0' model='pcie-root'><alias name='pcie.0'/></controller>
    <controller type='usb' index='0' model='none'><alias name='usb'/></controller>
    <controller type='sata' index='0'><alias name='ide'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x1f' function='0x2'/></controller>
    <controller type='virtio-serial' index='0'><alias name='virtio-serial0'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></controller>
    <serial type='pty'><source path='/dev/pts/4'/><target type='isa-serial' port='0'><model name='isa-serial'/></target>
      <alias name='serial0'/></serial>
    <console type='pty' tty='/dev/pts/4'><source path='/dev/pts/4'/><target type='serial' port='0'/>
      <alias name='serial0'/></console>
    <console type='pty'><source path='/dev/pts/5'/><target type='virtio' port='1'/><alias name='console1'/></console>
    <input type='mouse' bus='ps2'><alias name='input0'/></input><input type='keyboard' bus='ps2'/>
    <audio id='1' type='none'/>
    <memballoon model='virtio'><stats period='5'/><alias name='balloon0'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x05' function='0x0'/></memballoon>
  </devices>
</domain>)");
  const DeviceConfig& devices = domain.machine.devices;
  EXPECT_EQ(devices.root_ports, (std::vector<PciPlace>{{.slot = 2}, {.slot = 2, .function = 1}}));
  EXPECT_EQ(devices.disks.at(0).pci_place, (PciPlace{.bus = 2}));
  EXPECT_TRUE(devices.console);
  EXPECT_EQ(devices.console_place, (PciPlace{.bus = 1}));
  EXPECT_EQ(domain.machine.balloon->pci_place, (PciPlace{.slot = 5}));
  EXPECT_EQ(domain.machine.balloon->target, 512_MiB);
  EXPECT_EQ(domain.console, "pty");
}

}  // namespace
}  // namespace faultline
