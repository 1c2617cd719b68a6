// A real libvirtd drives a Linux guest: its devices at the addresses that libvirt gives them, the memory that only a
// guest with drivers takes and gives back, and the disks and network cards that come and go. One boot for each test,
// which takes a quarter of a minute where KVM interprets the kernel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <thread>

#include "tests/e2e/libvirt_host.h"
#include "tests/e2e/linux_guest.h"

namespace faultline::e2e {
namespace {

using testing::HasSubstr;

constexpr const char* kDomain = "lx";
constexpr unsigned long kMibInKib = 1024;

std::string DomainXml(const std::string& disk) {
  return "<domain type='kvm'><name>lx</name><maxMemory slots='4' unit='MiB'>2048</maxMemory>"
         "<memory unit='MiB'>512</memory><vcpu>1</vcpu>"
         "<os><type arch='x86_64' machine='pc'>hvm</type><kernel>" +
         PathFrom("guest-kernel") + "</kernel><initrd>" + PathFrom("guest-initrd test") +
         "</initrd><cmdline>memhp_default_state=online_movable -- disk=/dev/vda net rng shell poweroff</cmdline></os>"
         "<features><acpi/></features>"
         "<cpu mode='host-passthrough'><numa><cell id='0' cpus='0' memory='512' unit='MiB'/></numa></cpu>"
         "<devices><emulator>" FAULTLINE_EMULATOR
         "</emulator><controller type='usb' model='none'/><audio id='1' type='none'/><serial type='pty'/>"
         "<console type='pty'><target type='serial'/></console><console type='pty'><target type='virtio'/></console>"
         "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='" +
         disk +
         "'/><target dev='vda' bus='virtio'/></disk>"
         "<interface type='user'><model type='virtio'/></interface>"
         "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
         "<memballoon model='virtio'><stats period='5'/></memballoon>"
         "<memory model='virtio-mem'><target><size unit='MiB'>512</size><node>0</node><block unit='MiB'>2</block>"
         "<requested unit='MiB'>0</requested></target></memory></devices></domain>";
}

class LibvirtLinux : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = WhyNoLibvirt()) GTEST_SKIP() << *why;
    host_ = std::make_unique<LibvirtHost>();
  }
  void TearDown() override {
    if (HasFailure() && host_) std::printf("%s\n", host_->Log(kDomain).c_str());
  }
  // Has the guest do `command` and returns what it printed.
  std::string Guest(const std::string& command) {
    console_->Type(command + "\r");
    std::string text = console_->ReadUntil("shell: ready");
    EXPECT_THAT(text, HasSubstr("shell: done")) << command;
    return text;
  }
  // Of the guest, in KiB.
  unsigned long MemTotal() {
    const std::string text = Guest("memory");
    unsigned long kib = 0;
    const size_t at = text.find("MemTotal ");
    EXPECT_NE(at, std::string::npos) << text;
    if (at != std::string::npos) std::sscanf(text.c_str() + at, "MemTotal %lu", &kib);
    return kib;
  }
  std::string Ask(std::vector<std::string> words) const {
    words.insert(words.begin() + 1, kDomain);
    return host_->Ask(words);
  }
  void WaitForXml(const std::string& element) const { host_->WaitFor({"dumpxml", kDomain}, element, kSilence); }

  std::unique_ptr<LibvirtHost> host_;
  std::unique_ptr<Dialogue> console_;
};

// A guest to whose machine cards can come.
std::string BareXml(const std::string& machine) {
  std::string ports;
  if (machine == "q35") {
    ports = "<controller type='pci' index='0' model='pcie-root'/>";
    for (const char* index : {"1", "2", "3"}) {
      ports += std::string("<controller type='pci' index='") + index + "' model='pcie-root-port'/>";
    }
  }
  return "<domain type='kvm'><name>lx</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>"
         "<os><type arch='x86_64' machine='" +
         machine + "'>hvm</type><kernel>" + PathFrom("guest-kernel") + "</kernel><initrd>" +
         PathFrom("guest-initrd test") +
         "</initrd><cmdline>-- shell poweroff</cmdline></os><features><acpi/></features>"
         "<cpu mode='host-passthrough'/><devices><emulator>" FAULTLINE_EMULATOR
         "</emulator><controller type='usb' model='none'/><audio id='1' type='none'/><memballoon model='none'/>" +
         ports + "<serial type='pty'/><console type='pty'><target type='serial'/></console></devices></domain>";
}

class LibvirtLinuxCards : public LibvirtLinux, public testing::WithParamInterface<const char*> {
 protected:
  // Has the guest do `command` until it works: a card is there for libvirt before the guest has looked for it.
  std::string GuestOnceItWorks(const std::string& command) {
    const auto deadline = std::chrono::steady_clock::now() + kSilence;
    for (;;) {
      console_->Type(command + "\r");
      std::string text = console_->ReadUntil("shell: ready");
      if (text.find("shell: done") != std::string::npos) return text;
      if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error(command + " never worked: " + text);
    }
  }
  // On q35 behind a root port, which libvirt does not choose by itself.
  void AttachDisk(const std::string& path) const {
    std::vector<std::string> words{"attach-disk", path, "vda", "--subdriver", "raw", "--live"};
    if (q35()) words.insert(words.end(), {"--address", "pci:0000.01.00.0"});
    Ask(words);
  }
  std::string InterfaceXml(const std::string& type, const std::string& mac) const {
    return "<interface type='" + type + "'><mac address='" + mac + "'/><model type='virtio'/>" +
           (q35() ? "<address type='pci' domain='0' bus='2' slot='0' function='0'/>" : "") + "</interface>";
  }
  bool q35() const { return GetParam() == std::string("q35"); }
  void WaitUntilGone(const std::string& element) const {
    const auto deadline = std::chrono::steady_clock::now() + kSilence;
    while (Ask({"dumpxml"}).find(element) != std::string::npos) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << element << " is still there";
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
  }
};

TEST_P(LibvirtLinuxCards, DisksAndNetworkCardsComeAndGo) {
  const std::string disk = host_->File("disk.raw", "");
  const auto fill = [&] {
    std::string content(4 << 20, '\0');
    for (size_t i = 0; i < (1 << 20); ++i) content[i] = static_cast<char>(i * 7 + i / 256);
    std::ofstream(disk, std::ios::binary) << content;
  };
  host_->Ask({"create", host_->File("lx.xml", BareXml(GetParam())), "--paused"});
  ASSERT_THAT(host_->Ask({"domstate", kDomain}), HasSubstr("paused"));
  console_ = std::make_unique<Dialogue>(
      std::vector<std::string>{"virsh", "-c", "qemu:///system", "console", kDomain, "--force"});
  console_->SetPatience(kSilence);
  console_->ReadUntil("Escape character");
  Ask({"resume"});
  console_->ReadUntil("shell: ready");

  for (int round = 0; round < 2; ++round) {
    fill();
    AttachDisk(disk);
    EXPECT_THAT(Ask({"dumpxml"}), HasSubstr("disk.raw"));
    EXPECT_THAT(GuestOnceItWorks("disk=/dev/vda"), HasSubstr("disk: ok, 1 MiB verified, 1 MiB written and flushed"));
    EXPECT_THAT(Ask({"domblklist"}), HasSubstr("disk.raw"));
    // What the guest read and wrote, counted anew for each disk that comes.
    const std::string counts = Ask({"domblkstat", "vda"});
    EXPECT_THAT(counts, testing::ContainsRegex("wr_bytes 1048576\n"));
    EXPECT_THAT(counts, testing::ContainsRegex("rd_bytes [1-9][0-9]{6}\n"));
    EXPECT_THAT(counts, testing::ContainsRegex("flush_operations [1-9]"));
    EXPECT_THAT(Ask({"domblkinfo", "vda"}), testing::ContainsRegex("Capacity: +4194304\n"));
    EXPECT_THAT(Ask({"domstats", "--block"}), HasSubstr("block.0.wr.bytes=1048576"));
    Ask({"detach-disk", "vda", "--live"});
    WaitUntilGone("disk.raw");
    console_->Type("disk=/dev/vda\r");
    EXPECT_THAT(console_->ReadUntil("shell: ready"), HasSubstr("FAILED to open the disk, error 2"));
  }

  const std::string card = host_->File("card.xml", InterfaceXml("user", "52:54:00:12:34:77"));
  for (int round = 0; round < 2; ++round) {
    Ask({"attach-device", card, "--live"});
    EXPECT_THAT(GuestOnceItWorks("net"), HasSubstr("net: ok, address 10.0.2.15"));
    Ask({"detach-interface", "user", "--mac", "52:54:00:12:34:77", "--live"});
    WaitUntilGone("52:54:00:12:34:77");
    console_->Type("net\r");
    EXPECT_THAT(console_->ReadUntil("shell: ready"), HasSubstr("shell: FAILED"));
  }

  // A tap that libvirt makes and passes along.
  if (access("/dev/net/tun", R_OK | W_OK) == 0) {
    const std::string tap = host_->File("tap.xml", InterfaceXml("ethernet", "52:54:00:12:34:78"));
    Ask({"attach-device", tap, "--live"});
    EXPECT_THAT(Ask({"domiflist"}), testing::ContainsRegex("vnet[0-9]+ +ethernet"));
    GuestOnceItWorks("memory");
    Ask({"detach-interface", "ethernet", "--mac", "52:54:00:12:34:78", "--live"});
    WaitUntilGone("52:54:00:12:34:78");
  }

  // What is plugged outlives a reset.
  fill();
  AttachDisk(disk);
  GuestOnceItWorks("disk=/dev/vda");
  fill();
  Ask({"reset"});
  console_->ReadUntil("faultline init: running");
  console_->ReadUntil("shell: ready");
  GuestOnceItWorks("disk=/dev/vda");
  Ask({"detach-disk", "vda", "--live"});
  WaitUntilGone("disk.raw");
  const LibvirtHost::Answer missing =
      host_->Virsh({"attach-disk", kDomain, disk + ".missing", "vdb", "--subdriver", "raw"});
  EXPECT_NE(missing.status, 0);
  EXPECT_THAT(missing.text, HasSubstr(".missing"));
  console_->Type("exit\r");
  host_->WaitFor({"domstate", kDomain}, "failed to get domain", kSilence);
}

INSTANTIATE_TEST_SUITE_P(Machines, LibvirtLinuxCards, testing::Values("pc", "q35"),
                         [](const auto& of) { return std::string(of.param); });

TEST_F(LibvirtLinux, HasItsDevicesAndFollowsSetmemAndUpdateMemoryDevice) {
  const std::string disk = host_->File("disk.raw", "");
  std::string content(4 << 20, '\0');
  // What `disk=` of tests/guest wants to find.
  for (size_t i = 0; i < (1 << 20); ++i) content[i] = static_cast<char>(i * 7 + i / 256);
  std::ofstream(disk, std::ios::binary) << content;
  host_->Ask({"create", host_->File("lx.xml", DomainXml(disk)), "--paused"});
  ASSERT_THAT(host_->Ask({"domstate", kDomain}), HasSubstr("paused"));
  console_ = std::make_unique<Dialogue>(
      std::vector<std::string>{"virsh", "-c", "qemu:///system", "console", kDomain, "--force"});
  console_->SetPatience(kSilence);
  console_->ReadUntil("Escape character");
  Ask({"resume"});
  const std::string boot = console_->ReadUntil("shell: ready");
  EXPECT_THAT(boot, HasSubstr("disk: ok"));
  EXPECT_THAT(boot, HasSubstr("net: ok, address 10.0.2.15"));
  EXPECT_THAT(boot, HasSubstr("rng: ok"));

  Dialogue hvc({"virsh", "-c", "qemu:///system", "console", kDomain, "--devname", "console1"});
  hvc.SetPatience(kSilence);
  hvc.ReadUntil("Escape character");
  console_->Type("hvc\r");
  hvc.ReadUntil("hvc: type a line");
  hvc.Type("over virtio\r");
  EXPECT_THAT(console_->ReadUntil("shell: ready"), HasSubstr("hvc: ok, read 'over virtio'"));

  const unsigned long total = MemTotal();
  Ask({"setmem", "480M", "--live"});
  WaitForXml("<currentMemory unit='KiB'>491520</currentMemory>");
  EXPECT_EQ(MemTotal(), total - 32 * kMibInKib) << "the balloon holds what the guest gave up";
  EXPECT_THAT(Ask({"dommemstat"}), HasSubstr("actual 491520"));
  host_->WaitFor({"dommemstat", kDomain}, "unused ", kSilence);
  EXPECT_THAT(Ask({"dommemstat"}), testing::ContainsRegex("available [1-9]"));
  Ask({"setmem", "512M", "--live"});
  WaitForXml("<currentMemory unit='KiB'>524288</currentMemory>");
  EXPECT_EQ(MemTotal(), total);

  Ask({"update-memory-device", "--live", "--requested-size", "128M"});
  WaitForXml("<current unit='KiB'>131072</current>");
  // The device has it before the kernel has put it to use.
  const auto deadline = std::chrono::steady_clock::now() + kSilence;
  while (MemTotal() != total + 128 * kMibInKib) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "the guest has not onlined it";
  }
  Ask({"update-memory-device", "--live", "--requested-size", "0"});
  WaitForXml("<current unit='KiB'>0</current>");
  EXPECT_EQ(MemTotal(), total);

  console_->Type("exit\r");
  host_->WaitFor({"domstate", kDomain}, "failed to get domain", kSilence);
}

}  // namespace
}  // namespace faultline::e2e
