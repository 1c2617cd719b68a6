// A real libvirtd drives a Linux guest: its devices at the addresses that libvirt gives them, and the memory that only
// a guest with drivers takes and gives back. One boot, which takes half a minute where KVM interprets the kernel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>

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
