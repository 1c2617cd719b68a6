// What libvirt 9.0 writes, and what it means; and that nothing it could write is ignored in silence.
#include "vmm/qemu/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guestmem/error.h"

namespace faultline {
namespace {

using testing::HasSubstr;
using Words = std::vector<std::string>;

// The words for a VM with the built-in guest, and more.
Words With(const Words& more) {
  Words words{"-name",
              "guest=vm,debug-threads=on",
              "-S",
              "-machine",
              "pc-i440fx-7.2,usb=off,dump-guest-core=off",
              "-accel",
              "kvm",
              "-cpu",
              "host",
              "-chardev",
              "socket,id=charmonitor,fd=26,server=on,wait=off",
              "-mon",
              "chardev=charmonitor,id=monitor,mode=control",
              "-rtc",
              "base=utc",
              "-no-shutdown"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::string ErrorOf(const Words& words) {
  try {
    PlanFromCommandLine(words);
  } catch (const UsageError& e) {
    return e.what();
  }
  return "no error";
}

TEST(QemuPlan, TakesWhatLibvirtWritesForTheBuiltInGuest) {
  const QemuPlan plan =
      PlanFromCommandLine(With({"-object",
                                R"({"qom-type":"secret","id":"masterKey0","format":"raw","file":"/key"})",
                                "-m",
                                "size=524288k,slots=8,maxmem=4194304k",
                                "-overcommit",
                                "mem-lock=off",
                                "-smp",
                                "2,sockets=2,cores=1,threads=1",
                                "-object",
                                R"({"qom-type":"memory-backend-memfd","id":"ram-node0","share":true,"size":536870912})",
                                "-numa",
                                "node,nodeid=0,cpus=0-1,memdev=ram-node0",
                                "-object",
                                R"({"qom-type":"memory-backend-ram","id":"memdimm0","size":268435456})",
                                "-device",
                                R"({"driver":"pc-dimm","node":0,"memdev":"memdimm0","id":"dimm0","slot":3})",
                                "-uuid",
                                "63555a78-aea1-4212-a269-6677526c7790",
                                "-display",
                                "none",
                                "-no-user-config",
                                "-nodefaults",
                                "-boot",
                                "strict=on",
                                "-chardev",
                                "pty,id=charserial0",
                                "-device",
                                R"({"driver":"isa-serial","chardev":"charserial0","id":"serial0","index":0})",
                                "-audiodev",
                                R"({"id":"audio1","driver":"none"})",
                                "-global",
                                "PIIX4_PM.disable_s3=1",
                                "-sandbox",
                                "off",
                                "-msg",
                                "timestamp=on"}));
  EXPECT_EQ(plan.machine.name, "vm");
  EXPECT_EQ(plan.machine.cpus, 2U);
  EXPECT_EQ(plan.machine.memory.boot, 512_MiB);
  EXPECT_EQ(plan.machine.memory.max, 4_GiB);
  EXPECT_EQ(plan.machine.memory.slots, 8U);
  EXPECT_EQ(plan.machine.memory.backing.kind, BackingKind::kMemfd);
  EXPECT_TRUE(plan.machine.start_paused);
  EXPECT_TRUE(plan.stay_after_shutdown);
  EXPECT_EQ(plan.console.kind, CharacterPlan::Kind::kPty);
  ASSERT_EQ(plan.monitors.size(), 1U);
  EXPECT_EQ(plan.monitors[0].fd, 26);
  ASSERT_EQ(plan.dimms.size(), 1U);
  EXPECT_EQ(plan.dimms[0].size, 256_MiB);
  EXPECT_EQ(plan.dimms[0].slot, 3U);
  EXPECT_FALSE(plan.dimms[0].hotplugged);
  ASSERT_EQ(plan.inventory.peripherals.size(), 1U);
  EXPECT_EQ(plan.inventory.peripherals[0].driver, "isa-serial");
}

TEST(QemuPlan, TakesAKernelWithDevicesAtTheirAddressesInBothSpellings) {
  const Words json{
      "-blockdev",
      R"({"driver":"file","filename":"/d.raw","node-name":"s","cache":{"direct":true,"no-flush":false},"auto-read-only":true,"discard":"unmap"})",
      "-blockdev",
      R"({"node-name":"f","read-only":true,"driver":"raw","file":"s"})",
      "-device",
      R"({"driver":"virtio-blk-pci","bus":"pci.0","addr":"0x3","drive":"f","id":"disk0","bootindex":1,"write-cache":"on"})",
      "-netdev",
      R"({"type":"user","id":"hostnet0"})",
      "-device",
      R"({"driver":"virtio-net-pci","netdev":"hostnet0","id":"net0","mac":"52:54:00:12:34:57","bus":"pci.0","addr":"0x2"})",
      "-object",
      R"({"qom-type":"rng-random","id":"objrng0","filename":"/dev/urandom"})",
      "-device",
      R"({"driver":"virtio-rng-pci","rng":"objrng0","id":"rng0","bus":"pci.0","addr":"0x6"})"};
  const Words plain{"-blockdev", "driver=file,filename=/d.raw,node-name=s",
                    "-blockdev", "node-name=f,read-only=on,driver=raw,file=s",
                    "-device",   "virtio-blk-pci,bus=pci.0,addr=0x3,drive=f,id=disk0,bootindex=1",
                    "-netdev",   "user,id=hostnet0",
                    "-device",   "virtio-net-pci,netdev=hostnet0,id=net0,mac=52:54:00:12:34:57,bus=pci.0,addr=0x2",
                    "-object",   "rng-random,id=objrng0,filename=/dev/urandom",
                    "-device",   "virtio-rng-pci,rng=objrng0,id=rng0,bus=pci.0,addr=0x6"};
  for (const Words& devices : {json, plain}) {
    Words words = With(devices);
    words.insert(words.end(), {"-kernel", "/vmlinux", "-initrd", "/initrd", "-append", "console=ttyS0"});
    const QemuPlan plan = PlanFromCommandLine(words);
    EXPECT_EQ(plan.machine.boot.kernel, "/vmlinux");
    EXPECT_EQ(plan.machine.boot.command_line, "console=ttyS0");
    const DeviceConfig& config = plan.machine.devices;
    ASSERT_EQ(config.disks.size(), 1U);
    EXPECT_EQ(config.disks[0].path, "/d.raw");
    EXPECT_TRUE(config.disks[0].read_only);
    EXPECT_EQ(config.disks[0].pci_place, (PciPlace{.slot = 3}));
    ASSERT_EQ(config.net_cards.size(), 1U);
    EXPECT_EQ(config.net_cards[0].pci_place, (PciPlace{.slot = 2}));
    EXPECT_EQ(config.net_cards[0].mac->back(), 0x57);
    EXPECT_TRUE(config.rng);
    EXPECT_EQ(config.rng_place, (PciPlace{.slot = 6}));
    EXPECT_EQ(config.disks[0].id, "disk0");
    EXPECT_TRUE(config.hotplug);
    const std::vector<DiskNode> disks = plan.cards.blocks.Disks([](const std::string& id) { return id == "disk0"; });
    ASSERT_EQ(disks.size(), 1U);
    EXPECT_EQ(disks[0].format_node, "f");
    EXPECT_EQ(disks[0].device, "disk0");
  }
}

TEST(QemuPlan, TakesTheElasticDevicesWithAKernelOrWithTheBuiltInGuest) {
  const Words devices{
      "-m",
      "size=524288k,slots=8,maxmem=4194304k",
      "-object",
      R"({"qom-type":"memory-backend-ram","id":"memvirtiomem0","reserve":false,"size":1073741824})",
      "-device",
      R"({"driver":"virtio-mem-pci","node":0,"block-size":2097152,"requested-size":268435456,"memdev":"memvirtiomem0","id":"virtiomem0","bus":"pci.0","addr":"0x5"})",
      "-device",
      R"({"driver":"virtio-balloon-pci","id":"ua-b","deflate-on-oom":true,"free-page-reporting":true,"bus":"pci.0","addr":"0x4"})"};
  for (const Words& kernel : {Words{}, Words{"-kernel", "/vmlinux"}}) {
    Words words = With(devices);
    words.insert(words.end(), kernel.begin(), kernel.end());
    const QemuPlan plan = PlanFromCommandLine(words);
    ASSERT_EQ(plan.machine.memory.virtio_mem.size(), 1U);
    const VirtioMemOptions& mem = plan.machine.memory.virtio_mem[0];
    EXPECT_EQ(mem.id, "virtiomem0");
    EXPECT_EQ(mem.size, 1_GiB);
    EXPECT_EQ(mem.block_size(), 2_MiB);
    EXPECT_EQ(mem.requested, 256_MiB);
    EXPECT_EQ(mem.pci_place, (PciPlace{.slot = 5}));
    EXPECT_EQ(plan.machine.memory.max, 3_GiB) << "the rest is for dimms";
    EXPECT_EQ(plan.machine.memory.slots, 8U);
    ASSERT_TRUE(plan.machine.balloon);
    EXPECT_EQ(plan.machine.balloon->id, "ua-b");
    EXPECT_EQ(plan.machine.balloon->pci_place, (PciPlace{.slot = 4}));
    EXPECT_TRUE(plan.machine.balloon->reporting);
    ASSERT_EQ(plan.backends.size(), 1U);
    EXPECT_EQ(plan.backends[0].device, "virtiomem0");
  }
  const QemuPlan plain = PlanFromCommandLine(With({"-device", "virtio-balloon-pci,id=b"}));
  EXPECT_FALSE(plain.machine.balloon->deflate_on_oom) << "as in QEMU, unless asked for";
  EXPECT_FALSE(plain.machine.balloon->reporting);
  const QemuPlan full =
      PlanFromCommandLine(With({"-m", "size=64M,slots=2,maxmem=128M", "-object", "memory-backend-ram,id=r,size=64M",
                                "-device", "virtio-mem-pci,id=v,memdev=r"}));
  EXPECT_EQ(full.machine.memory.slots, 0U) << "no room is left for dimms";
}

TEST(QemuPlan, TakesAVirtioConsoleBesideTheSerialOne) {
  const QemuPlan plan = PlanFromCommandLine(With(
      {"-kernel", "/vmlinux", "-chardev", "pty,id=charserial0", "-device", "isa-serial,chardev=charserial0,id=serial0",
       "-device", R"({"driver":"virtio-serial-pci","id":"virtio-serial0","bus":"pci.0","addr":"0x5"})", "-chardev",
       "pty,id=charconsole1", "-device",
       R"({"driver":"virtconsole","bus":"virtio-serial0.0","chardev":"charconsole1","id":"console1"})"}));
  EXPECT_TRUE(plan.machine.devices.console);
  EXPECT_EQ(plan.machine.devices.console_place, PciPlace{.slot = 5});
  EXPECT_EQ(plan.console.id, "charserial0");
  EXPECT_EQ(plan.virtio_console.id, "charconsole1");
}

TEST(QemuPlan, DevicesOfAQ35MaySitBehindRootPorts) {
  const Words words{
      "-machine",
      "q35",
      "-qmp",
      "unix:/m,server=on,wait=off",
      "-kernel",
      "/vmlinux",
      "-device",
      R"({"driver":"pcie-root-port","port":8,"chassis":1,"id":"pci.1","bus":"pcie.0","multifunction":true,"addr":"0x1"})",
      "-device",
      R"({"driver":"pcie-root-port","port":9,"chassis":2,"id":"pci.2","bus":"pcie.0","addr":"0x1.0x1"})",
      "-netdev",
      "user,id=n",
      "-device",
      "virtio-net-pci,netdev=n,id=net0,bus=pci.2,addr=0x0",
      "-device",
      "virtio-balloon-pci,id=b,bus=pcie.0,addr=0x1f"};
  const QemuPlan plan = PlanFromCommandLine(words);
  EXPECT_EQ(plan.machine.devices.root_ports, (std::vector{PciPlace{.slot = 1}, PciPlace{.slot = 1, .function = 1}}));
  EXPECT_EQ(plan.machine.devices.net_cards.at(0).pci_place, PciPlace{.bus = 2});
  EXPECT_EQ(plan.machine.balloon->pci_place, PciPlace{.slot = 31});
  EXPECT_EQ(plan.inventory.peripherals.at(0).id, "pci.1");
}

TEST(QemuPlan, AsksForNothingButAMonitorToAnswerQuestions) {
  const QemuPlan plan =
      PlanFromCommandLine(Words{"-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=kvm:tcg",
                                "-qmp", "unix:/m.sock,server=on,wait=off", "-pidfile", "/pid", "-daemonize"});
  EXPECT_TRUE(plan.probe);
  EXPECT_TRUE(plan.daemonize);
  EXPECT_EQ(plan.pid_file, "/pid");
  EXPECT_EQ(plan.monitors.at(0).path, "/m.sock");
}

TEST(QemuPlan, RefusesWhatItDoesNotDoInOneSentenceThatNamesTheWayOut) {
  const struct {
    Words words;
    const char* sentence;
  } kBad[] = {
      {{"-nonsense"}, "'-nonsense' is not an option"},
      {{"-m"}, "-m needs a value"},
      {{"-machine", "pc"}, "given twice"},
      {{"-smp", "2,maxcpus=4"}, "<vcpu>"},
      {{"-smp", "257"}, "256 at most"},
      {{"-m", "size=3M"}, "multiple of 2 MiB"},
      {{"-m", "size=99999999999999999T"}, "more than there can be"},
      {{"-m", "size=64M,slots=999"}, "slots"},
      {{"-numa", "node,nodeid=1"}, "one <cell>"},
      {{"-numa", "node,memdev=nowhere"}, "no memory backend 'nowhere'"},
      {{"-m", "64", "-object", "memory-backend-ram,id=r,size=32M", "-numa", "node,memdev=r"}, "same size"},
      {{"-object", "memory-backend-ram,id=r,size=32M"}, "'r' is used by nothing"},
      {{"-object", "memory-backend-ram,id=r,size=32M,prealloc=on"}, "<allocation"},
      {{"-object", "iothread,id=r"}, "no object 'iothread'"},
      {{"-device", "VGA,id=video0"}, "<video>"},
      {{"-device", "qemu-xhci"}, "<controller type='usb' model='none'/>"},
      {{"-device", "ide-hd"}, "bus='virtio'"},
      {{"-device", "something-else"}, "no such device"},
      {{"-device", "isa-serial,chardev=none"}, "no chardev 'none'"},
      {{"-chardev", "pty,id=a", "-device", "isa-serial,chardev=a", "-chardev", "pty,id=b", "-device",
        "isa-serial,chardev=b"},
       "keep one <serial>"},
      {{"-chardev", "pty,id=a"}, "'a' is used by nothing"},
      {{"-chardev", "pty,id=charmonitor"}, "is taken"},
      {{"-chardev", "stdio,id=a"}, "'stdio' is not supported"},
      {{"-chardev", "socket,id=a,host=h,port=1,server=on,wait=off"}, "Unix sockets"},
      {{"-chardev", "socket,id=a,path=/p,server=off"}, "mode='bind'"},
      {{"-chardev", "file,id=a,path=/dev/fdset/7"}, "-add-fd"},
      {{"-blockdev", "driver=qcow2,node-name=q,file=x"}, "qemu-img convert"},
      {{"-netdev", "bridge,id=n"}, "<interface type='user'>"},
      {{"-object", "rng-random,id=r", "-device", "virtio-rng-pci,rng=r,bus=pci.1,addr=0x1"}, "bus='0x00'"},
      {{"-object", "rng-random,id=r", "-device", "virtio-rng-pci,rng=r,addr=0x20"}, "no PCI slot 0x20"},
      {{"-object", "rng-random,id=r", "-device", "virtio-rng-pci,rng=r,addr=0x2.0x8"}, "no PCI function 0x8"},
      {{"-object", "rng-random,id=r", "-device", "virtio-rng-pci,rng=r,addr=0"}, "host bridge's"},
      {{"-device", "pcie-root-port,id=p,addr=0x2"}, "machine q35"},
      {{"-object", "rng-random,id=r", "-device", "virtio-rng-pci,rng=r"}, "add <kernel> to <os>"},
      {{"-append", "quiet"}, "-append needs -kernel"},
      {{"-chardev", "pty,id=a", "-device", "virtconsole,chardev=a"}, "<controller type='virtio-serial'>"},
      {{"-device", "virtio-serial-pci", "-device", "virtio-serial-pci"}, "keep one <controller"},
      {{"-device", "virtio-serial-pci", "-device", "virtserialport"}, "remove <channel>"},
      {{"-device", "virtio-balloon-pci,id=a", "-device", "virtio-balloon-pci,id=b"}, "keep one <memballoon>"},
      {{"-object", "rng-random,id=r", "-device", "virtio-balloon-pci,id=a", "-device", "virtio-rng-pci,rng=r,id=a"},
       "'a' is taken"},
      {{"-device", "virtio-mem-pci,id=v,memdev=r"}, "no memory backend 'r'"},
      {{"-object", "memory-backend-ram,id=r,size=64M", "-device", "virtio-mem-pci,memdev=r"}, "'id' is missing"},
      {{"-object", "memory-backend-ram,id=r,size=64M", "-device", "virtio-mem-pci,id=v,memdev=r"}, "<maxMemory>"},
      {{"-m", "size=64M,slots=1,maxmem=1G", "-object", "memory-backend-ram,id=r,size=64M", "-device",
        "virtio-mem-pci,id=v,memdev=r,block-size=3M"},
       "a block of 3 MiB"},
      {{"-no-acpi"}, "<acpi/>"},
      {{"-rtc", "base=localtime"}, "-rtc"},
      {{"-overcommit", "mem-lock=on"}, "<locked/>"},
      {{"-sandbox", "on"}, "seccomp_sandbox"},
      {{"-global", "x.y=z"}, "-global x.y=z"},
      {{"-vga", "std"}, "<video>"},
  };
  for (const auto& bad : kBad) EXPECT_THAT(ErrorOf(With(bad.words)), HasSubstr(bad.sentence)) << bad.words.back();
  EXPECT_THAT(ErrorOf({"-machine", "microvm", "-qmp", "unix:/m,server=on,wait=off"}), HasSubstr("pc and q35"));
  EXPECT_THAT(ErrorOf({"-machine", "pc,accel=tcg", "-qmp", "unix:/m,server=on,wait=off"}), HasSubstr("type='kvm'"));
  EXPECT_THAT(ErrorOf({"-machine", "pc"}), HasSubstr("no monitor"));
}

TEST(QemuPlan, AVmMayWaitForASavedState) {
  EXPECT_TRUE(PlanFromCommandLine(With({"-incoming", "defer"})).machine.incoming);
  EXPECT_FALSE(PlanFromCommandLine(With({})).machine.incoming);
  EXPECT_THAT(ErrorOf(With({"-incoming", "tcp:0:4444"})), HasSubstr("-incoming: write defer"));
  EXPECT_THAT(ErrorOf({"-machine", "pc", "-qmp", "unix:/m,server=on,wait=off", "-incoming", "defer"}),
              HasSubstr("-incoming needs -S"));
}

}  // namespace
}  // namespace faultline
