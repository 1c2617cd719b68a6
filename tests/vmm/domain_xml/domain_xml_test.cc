// A domain as libvirt and virt-install write it becomes a VM, or is refused by the name of the element; and a VM that
// was written down comes back as it was.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guestmem/error.h"
#include "vmm/domain_xml/domain.h"

namespace faultline {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string RefusalOf(const std::string& xml) {
  try {
    ReadDomain(xml);
  } catch (const UsageError& e) {
    return e.what();
  }
  return "none";
}

std::string With(const std::string& more, const std::string& devices = "") {
  return "<domain type='kvm'><name>vm</name><memory unit='MiB'>256</memory><vcpu>2</vcpu>" + more + "<devices>" +
         devices + "</devices></domain>";
}

TEST(ReadDomain, TakesWhatVirtInstallWritesForADirectKernelBoot) {
  const Domain domain = ReadDomain(R"(<?xml version='1.0'?>
<domain type="kvm">
  <name>vi</name>
  <uuid>11111111-2222-3333-4444-555555555555</uuid>
  <metadata><libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0"/></metadata>
  <maxMemory slots="16" unit="KiB">8388608</maxMemory>
  <memory unit="KiB">1310720</memory>
  <currentMemory>1048576</currentMemory>
  <vcpu placement="static">4</vcpu>
  <os>
    <type arch="x86_64" machine="q35">hvm</type>
    <kernel>/k/vmlinuz</kernel><initrd>/k/initrd</initrd><cmdline>console=ttyS0 root=/dev/vda</cmdline>
    <boot dev="hd"/>
  </os>
  <features><acpi/><apic/><vmport state="off"/></features>
  <cpu mode="host-passthrough" check="none" migratable="on">
    <numa><cell id="0" cpus="0-3" memory="1048576" unit="KiB"/></numa>
  </cpu>
  <clock offset="utc"><timer name="rtc" tickpolicy="catchup"/><timer name="hpet" present="no"/></clock>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <pm><suspend-to-mem enabled="no"/></pm>
  <devices>
    <emulator>/usr/local/bin/qemu-system-faultline</emulator>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw" discard="unmap"/><source file="/d.raw"/><target dev="vda" bus="virtio"/>
      <address type="pci" domain="0x0000" bus="0x00" slot="0x04" function="0x0"/>
    </disk>
    <interface type="user"><mac address="52:54:00:a9:99:3f"/><model type="virtio"/></interface>
    <controller type="usb" model="none"/><controller type="pci" index="0" model="pcie-root"/>
    <serial type="pty"><target type="isa-serial" port="0"/></serial>
    <console type="pty"><target type="serial" port="0"/></console>
    <input type="mouse" bus="ps2"/><audio id="1" type="none"/>
    <memballoon model="virtio"><stats period="5"/></memballoon>
    <rng model="virtio"><backend model="random">/dev/urandom</backend></rng>
    <memory model="dimm"><target><size unit="MiB">256</size><node>0</node></target><address type="dimm" slot="3"/></memory>
    <video><model type="none"/></video>
  </devices>
</domain>)");
  const MachineConfig& machine = domain.machine;
  EXPECT_EQ(machine.name, "vi");
  EXPECT_EQ(machine.cpus, 4U);
  EXPECT_EQ(machine.memory.boot, 1_GiB);
  EXPECT_EQ(machine.memory.max, 8_GiB);
  EXPECT_EQ(machine.memory.slots, 16U);
  EXPECT_EQ(machine.boot.kernel, "/k/vmlinuz");
  EXPECT_EQ(machine.boot.command_line, "console=ttyS0 root=/dev/vda");
  ASSERT_EQ(machine.devices.disks.size(), 1U);
  EXPECT_EQ(machine.devices.disks[0].path, "/d.raw");
  EXPECT_EQ(machine.devices.disks[0].pci_place, (PciPlace{.slot = 4}));
  ASSERT_EQ(machine.devices.net_cards.size(), 1U);
  EXPECT_EQ((*machine.devices.net_cards[0].mac)[5], 0x3f);
  EXPECT_TRUE(machine.devices.rng);
  ASSERT_TRUE(machine.balloon);
  EXPECT_EQ(machine.balloon->target, 256_MiB) << "currentMemory is what the guest keeps";
  EXPECT_EQ(domain.console, "pty");
  EXPECT_TRUE(domain.restart_on_reboot);
  ASSERT_EQ(domain.dimms.size(), 1U);
  EXPECT_EQ(domain.dimms[0].size, 256_MiB);
  EXPECT_EQ(domain.dimms[0].slot, 3U);
}

TEST(ReadDomain, RefusesByNameWhatIsNotThere) {
  const struct {
    std::string xml;
    const char* sentence;
  } kBad[] = {
      {"no xml", "no XML, by byte"},
      {"<network/>", "<network> is no domain"},
      {"<domain type='qemu'/>", "type='kvm'"},
      {With("<cputune><shares>1</shares></cputune>"), "<domain><cputune>: this element is not supported"},
      {With("<os><loader>/x</loader></os>"), "<os><loader>: there is no firmware"},
      {With("<os firmware='efi'/>"), "there is no firmware"},
      {With("<cpu mode='host-model'/>"), "write 'host-passthrough'"},
      {With("<clock offset='localtime'/>"), "write 'utc'"},
      {With("<iothreads>1</iothreads>"), "<domain><iothreads>"},
      {With("", "<graphics type='spice'/>"), "<devices><graphics>: this element is not supported"},
      {With("", "<video><model type='qxl'/></video>"), "<devices><video>: there is no graphics"},
      {With("", "<channel type='unix'/>"), "<devices><channel>"},
      {With("", "<controller type='scsi'/>"), "type='scsi'"},
      {With("", "<serial type='pty'/><serial type='pty'/>"), "there is one serial port"},
      {With("", "<disk type='file' device='cdrom'/>"), "no CD-ROM"},
      {With("", "<disk type='file'><driver name='qemu' type='qcow2'/><source file='/x'/></disk>"), "qemu-img convert"},
      {With("", "<interface type='network'><source network='default'/></interface>"), "type='network'"},
      {With("", "<memory model='nvdimm'><target/></memory>"), "'nvdimm'"},
      {With("", "<rng model='virtio'><backend model='random'/></rng>"), "add <kernel> to <os>"},
      {With("<seclabel type='none'/>"), "<domain><seclabel>"},
      {With("<vcpu cpuset='1'>1</vcpu>"), "<domain><vcpu>: there is one at most"},
      {With("<pm><suspend-to-mem enabled='yes'/></pm>"), "<suspend-to-mem>: enabled='yes'"},
      {With("<cpu mode='host-passthrough'><topology cores='2'/></cpu>"), "each vCPU is a socket"},
      {With("<cpu><numa><cell id='0' memory='1' unit='GiB'/><cell id='1' memory='1'/></numa></cpu>"), "in cell 0"},
      {With("<os><initrd>/i</initrd></os>"), "<os><initrd>: it is for a <kernel>"},
      {With("<memoryBacking><hugepages><page size='1' unit='GiB'/></hugepages></memoryBacking>"), "are of 2 MiB"},
      {With("<memoryBacking><access mode='shared'/></memoryBacking>"), "<access>: mode='shared'"},
      {With("<features><hyperv/></features>"), "<features><hyperv>"},
      {With("", "<controller type='usb' model='qemu-xhci'/>"), "write model='none'"},
      {With("", "<controller type='pci' model='pcie-to-pci-bridge'/>"), "'pcie-to-pci-bridge' is not supported"},
      {With("", "<disk type='file'><source file='/x'/><target dev='sda'/></disk>"), "bus='sda'"},
      {With("", "<disk type='file'><source file='/x'/><address type='pci' bus='3' slot='1'/></disk>"),
       "pcie-root-port"},
      {With("", "<disk type='file'><source file='/x'/><address type='pci' slot='0'/></disk>"), "host bridge"},
      {With("", "<disk type='file'><source file='/x'/><address type='pci' slot='32'/></disk>"), "31 is the most"},
      {With("", "<disk type='file'><source file='/x'/><shareable/></disk>"), "<disk><shareable>"},
      {With("", "<interface type='user'><mac address='01:00:00:00:00:00'/></interface>"), "<interface><mac>: "},
      {With("", "<serial type='pty'/><console type='null'/>"), "it is the serial port once more"},
      {With("", "<serial type='tcp'/>"), "type='tcp'"},
      {With("", "<memory model='dimm'><target><size>1</size></target></memory>"), "multiples of 2 MiB"},
      {With("", "<memory model='dimm'><target><node>0</node></target></memory>"), "<target>: <size> is missing"},
      {With("", "<memory model='dimm'><target><size unit='MiB'>2</size><node>4294967296</node></target></memory>"),
       "no such node"},
      {With("",
            "<memory model='dimm'><target><size unit='MiB'>2</size></target><address type='dimm' "
            "slot='4294967296'/></memory>"),
       "255 is the most"},
      {With("", "<rng model='virtio'><backend model='random'>/dev/hwrng</backend></rng>"), "/dev/urandom"},
      {With("<metadata><faultline:vm xmlns:faultline='urn:faultline:vm' auto='on'/></metadata>"), "'auto' needs"},
      {With("<metadata><faultline:vm><faultline:memory id='x' backing='memfd'/></faultline:vm></metadata>"), "that id"},
      {With("<metadata><faultline:vm colour='red'/></metadata>"), "'colour' is not supported"},
      {"<domain type='kvm'><memory>3</memory></domain>", "at least 2 MiB"},
      {"<domain type='kvm'><memory unit='GiB'>1</memory><vcpu>0</vcpu></domain>", "0 CPUs"},
      {"<domain type='kvm'><memory unit='GiB'>1</memory><vcpu>4294967297</vcpu></domain>", "256 is the most"},
      {"<domain type='kvm'><vcpu>1</vcpu></domain>", "<memory> is missing"},
      {"<domain/>", "'type' is missing"},
      {"<domain type='kvm'><memory unit='furlong'>1</memory></domain>", "unit='furlong'"},
      {"<domain type='kvm'><memory>99999999999999999999</memory></domain>", "is no number"},
      {"<domain type='kvm'><memory unit='TiB'>99999999999</memory></domain>", "too large"},
  };
  for (const auto& bad : kBad) EXPECT_THAT(RefusalOf(bad.xml), HasSubstr(bad.sentence)) << bad.xml;
}

TEST(WriteDomain, ComesBackAsItWas) {
  Domain domain;
  MachineConfig& machine = domain.machine;
  machine.name = "it & <others>";
  machine.cpus = 3;
  machine.memory.boot = 512_MiB;
  machine.memory.max = 4_GiB;
  machine.memory.slots = 8;
  machine.memory.nodes = 2;
  machine.memory.backing.kind = BackingKind::kMemfd;
  machine.memory.fault_around.pages = 16;
  machine.memory.virtio_mem.push_back(
      {.id = "vmem0", .size = 2_GiB, .requested = 1_GiB, .block = 2_MiB, .backing = {}, .pci_place = {}});
  machine.boot = {.kernel = "/k", .initrd = "/i", .command_line = "a=\"b c\" d"};
  machine.boot_irq_chip = IrqChip::kKernel;
  DiskConfig disk;
  disk.path = "/d.raw";
  disk.read_only = true;
  disk.serial = "s1";
  disk.pci_place = PciPlace{.bus = 1};
  machine.devices.disks.push_back(disk);
  NetCardConfig user;
  user.user.host_forwards = {"tcp:127.0.0.1:8080-:80"};
  user.user.restricted = true;
  user.mac = MacAddress{0x52, 0x54, 0, 1, 2, 3};
  machine.devices.net_cards.push_back(user);
  NetCardConfig tap;
  tap.tap = "tap7";
  machine.devices.net_cards.push_back(tap);
  machine.devices.rng = true;
  machine.devices.console = true;
  machine.devices.console_place = PciPlace{.slot = 7, .function = 1};
  machine.devices.root_ports = {{.slot = 3}, {.slot = 3, .function = 1}};
  machine.devices.debug_exit = true;
  machine.balloon.emplace();
  machine.balloon->target = 128_MiB;
  machine.balloon->deflate_on_oom = true;
  machine.balloon->reporting = false;
  machine.balloon->pci_place = PciPlace{.bus = 2};
  machine.memory.automatic = AutoMemoryMode::kDryRun;
  machine.on_unplugged_access = UnpluggedPolicy::kStop;
  domain.console = "socket:/run/c";
  domain.dimms.push_back({.id = "ram",
                          .size = 256_MiB,
                          .slot = 4,
                          .address = Gpa(0x140000000),
                          .node = 1,
                          .backing = BackingSpec{BackingKind::kFile, "/m"},
                          .source = nullptr});
  const std::string xml = WriteDomain(domain, "/usr/bin/qemu-system-faultline");
  const Domain back = ReadDomain(xml);
  EXPECT_EQ(WriteDomain(back, "/usr/bin/qemu-system-faultline"), xml);
  EXPECT_EQ(back.machine.name, machine.name);
  EXPECT_EQ(back.machine.memory.boot, 512_MiB);
  EXPECT_EQ(back.machine.memory.virtio_mem.at(0).requested, 1_GiB);
  EXPECT_EQ(back.machine.devices.net_cards.at(0).user.host_forwards, user.user.host_forwards);
  EXPECT_EQ(back.machine.devices.net_cards.at(1).tap, "tap7");
  EXPECT_EQ(back.machine.devices.disks.at(0).pci_place, (PciPlace{.bus = 1}));
  EXPECT_EQ(back.machine.devices.root_ports, machine.devices.root_ports);
  EXPECT_EQ(back.machine.devices.console_place, machine.devices.console_place);
  EXPECT_EQ(back.machine.balloon->pci_place, (PciPlace{.bus = 2}));
  EXPECT_EQ(back.machine.memory.automatic, AutoMemoryMode::kDryRun);
  EXPECT_EQ(back.machine.memory.fault_around.pages, 16U);
  EXPECT_EQ(back.machine.boot.command_line, machine.boot.command_line);
  EXPECT_EQ(back.machine.on_unplugged_access, UnpluggedPolicy::kStop);
  EXPECT_EQ(back.machine.balloon->target, 128_MiB);
  EXPECT_EQ(back.dimms.at(0).address, Gpa(0x140000000));
  EXPECT_EQ(back.dimms.at(0).backing->path, "/m");
  EXPECT_EQ(back.console, "socket:/run/c");
  EXPECT_FALSE(back.restart_on_reboot);
}

TEST(WriteDomain, GivesCardsTheAddressThatTheMachineWouldCountUpTo) {
  Domain domain;
  domain.machine.name = "vm";
  domain.machine.boot.kernel = "/k";
  domain.machine.devices.net_cards.resize(2);
  const Domain back = ReadDomain(WriteDomain(domain, "/e"));
  EXPECT_EQ(back.machine.devices.net_cards.at(0).mac, NetConfig().mac);
  EXPECT_EQ(back.machine.devices.net_cards.at(1).mac->back(), NetConfig().mac.back() + 1);
}

TEST(WriteDomain, SaysNothingOfOurOwnWhenLibvirtHasWordsForAll) {
  Domain domain;
  domain.machine.name = "vm";
  EXPECT_THAT(WriteDomain(domain, "/e"), Not(HasSubstr("metadata")));
  domain.machine.on_unplugged_access = UnpluggedPolicy::kLog;
  EXPECT_THAT(WriteDomain(domain, "/e"), AllOf(HasSubstr("<!-- "), HasSubstr("on-unplugged-access=\"log\"")));
}

TEST(WriteDomain, RefusesWhatXmlCannotHold) {
  const auto refusal = [](const std::string& kernel, const std::string& id) -> std::string {
    Domain domain;
    domain.machine.name = "vm";
    domain.machine.boot.kernel = kernel;
    if (!id.empty())
      domain.machine.memory.virtio_mem.push_back({.id = id, .size = 2_MiB, .requested = {}, .backing = {}});
    try {
      WriteDomain(domain, "/e");
    } catch (const UsageError& e) {
      return e.what();
    }
    return "none";
  };
  EXPECT_EQ(refusal("/kernel of Žofie & <co>", "m"), "none");
  EXPECT_THAT(refusal("/a\nb", ""), HasSubstr("<kernel>"));
  EXPECT_THAT(refusal("/\x1b[m", ""), HasSubstr("<kernel>"));
  EXPECT_THAT(refusal("/\xff", ""), HasSubstr("<kernel>"));
  EXPECT_THAT(refusal("/\xed\xa0\x80", ""), HasSubstr("<kernel>")) << "half a surrogate pair";
  EXPECT_THAT(refusal("/\xc0\xaf", ""), HasSubstr("<kernel>")) << "a slash in two bytes";
  EXPECT_THAT(refusal("/k ", ""), HasSubstr("<kernel>"));
  EXPECT_THAT(refusal("/k", "a b"), HasSubstr("'a b' cannot have that id"));
}

}  // namespace
}  // namespace faultline
