// A real libvirtd drives the built-in guest through the verbs of virsh, on each machine type: what a verb did is
// looked for in the guest, in libvirt's view of the domain, or at the host.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "tests/e2e/libvirt_host.h"

namespace faultline::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kPrompt = "faultline> ";
constexpr const char* kDomain = "vm";
constexpr const char* kDimm =
    "<memory model='dimm'><target><size unit='MiB'>256</size><node>0</node></target></memory>";

std::string DomainXml(const std::string& machine, const std::string& devices = "") {
  return "<domain type='kvm'><name>vm</name><maxMemory slots='4' unit='MiB'>2048</maxMemory>"
         "<memory unit='MiB'>128</memory><vcpu>2</vcpu>"
         "<os><type arch='x86_64' machine='" +
         machine +
         "'>hvm</type></os><features><acpi/></features>"
         "<cpu mode='host-passthrough'><numa><cell id='0' cpus='0-1' memory='128' unit='MiB'/></numa></cpu>"
         "<on_reboot>restart</on_reboot><devices><emulator>" FAULTLINE_EMULATOR
         "</emulator><controller type='usb' model='none'/><audio id='1' type='none'/>" +
         (devices.find("<memballoon") == std::string::npos ? "<memballoon model='none'/>" : "") +
         (devices.empty() ? "<serial type='pty'/>" : devices) + "</devices></domain>";
}

// Resident in the process, bytes.
uint64_t Resident(pid_t pid) {
  std::ifstream statm("/proc/" + std::to_string(pid) + "/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  statm >> total >> resident;
  return resident * 4096;
}

class Libvirt : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (const auto why = WhyNoLibvirt()) GTEST_SKIP() << *why;
    host_ = std::make_unique<LibvirtHost>();
  }
  void TearDown() override {
    if (HasFailure() && host_) std::printf("%s\n", host_->Log(kDomain).c_str());
  }

  void Start() {
    host_->Ask({"define", host_->File("vm.xml", DomainXml(GetParam()))});
    host_->Ask({"start", kDomain});
    OpenConsole();
  }
  void OpenConsole() {
    console_.reset();
    console_ = std::make_unique<Dialogue>(
        std::vector<std::string>{"virsh", "-q", "-c", "qemu:///system", "console", kDomain, "--force"});
    // What is typed before virsh listens is lost.
    do console_->Type("\r");
    while (!console_->Shows(kPrompt));
  }
  // What the guest answers to a line.
  std::string Guest(const std::string& line) {
    console_->Type(line + "\r");
    console_->ReadUntil(line);
    return console_->ReadUntil(kPrompt);
  }
  std::string State() const { return host_->Ask({"domstate", kDomain, "--reason"}); }
  std::string Xml() const { return host_->Ask({"dumpxml", kDomain}); }
  void AttachDimm() {
    host_->Ask({"attach-device", kDomain, host_->File("dimm.xml", kDimm), "--live"});
    console_->ReadUntil("plugged: 256 MiB");
  }
  LibvirtHost::Answer DetachDimm() {
    const std::string xml = Xml();
    const size_t begin = xml.find("<memory model=");
    const size_t end = xml.find("</memory>", begin);
    if (begin == std::string::npos || end == std::string::npos) return {1, "there is no dimm in " + xml};
    return host_->Virsh(
        {"detach-device", kDomain, host_->File("live.xml", xml.substr(begin, end + 9 - begin)), "--live"});
  }

  // In every page of boot memory, until something is typed; the console is closed.
  void StartCounting() {
    console_->Type("count boot\r");
    console_->ReadUntil("Enter to stop");
    console_.reset();
  }
  void ExpectCountIsExact() {
    OpenConsole();
    console_->ReadUntil(" pages: exact");
    console_->ReadUntil(kPrompt);
  }

  std::unique_ptr<LibvirtHost> host_;
  std::unique_ptr<Dialogue> console_;
};

INSTANTIATE_TEST_SUITE_P(Machines, Libvirt, testing::Values("pc", "q35"),
                         [](const auto& machine) { return std::string(machine.param); });

TEST_P(Libvirt, StartsAGuestWhoseConsoleIsInteractive) {
  Start();
  EXPECT_THAT(Guest("mem"), HasSubstr("126 MiB"));
  EXPECT_THAT(State(), HasSubstr("running (booted)"));
  EXPECT_THAT(Xml(), HasSubstr(std::string("machine='pc-") + (GetParam() == std::string("pc") ? "i440fx" : "q35")));
}

TEST_P(Libvirt, TellsOfTheGuestWhatItAsks) {
  Start();
  EXPECT_THAT(host_->Ask({"dominfo", kDomain}), testing::ContainsRegex("Max memory: +131072 KiB"));
  const std::string stats = host_->Ask({"domstats", kDomain});
  EXPECT_THAT(stats, HasSubstr("vcpu.current=2"));
  EXPECT_THAT(stats, HasSubstr("vcpu.1.time="));
  EXPECT_THAT(stats, HasSubstr("balloon.maximum=131072"));
  EXPECT_THAT(host_->Ask({"dommemstat", kDomain}), testing::ContainsRegex("rss [1-9]"));
  EXPECT_THAT(host_->Ask({"vcpuinfo", kDomain}), testing::ContainsRegex("VCPU: +1\n"));
  EXPECT_THAT(host_->Ask({"qemu-monitor-command", kDomain, R"({"execute":"query-version"})"}), HasSubstr("faultline"));
}

TEST_P(Libvirt, SuspendStopsTheGuestAndResumeLetsItGoOn) {
  Start();
  host_->Ask({"suspend", kDomain});
  EXPECT_THAT(State(), HasSubstr("paused (user)"));
  console_->Type("mem\r");
  EXPECT_THAT(host_->Ask({"qemu-monitor-command", kDomain, R"({"execute":"query-status"})"}),
              HasSubstr("\"running\":false"));
  host_->Ask({"resume", kDomain});
  EXPECT_THAT(State(), HasSubstr("running (unpaused)"));
  EXPECT_THAT(console_->ReadUntil("total"), HasSubstr("boot")) << "what was typed meanwhile is not lost";
}

TEST_P(Libvirt, ShutdownIsTheGuestsToFollow) {
  Start();
  host_->Ask({"shutdown", kDomain});
  host_->WaitFor({"domstate", kDomain, "--reason"}, "shut off (shutdown)");
}

TEST_P(Libvirt, DestroyEndsIt) {
  Start();
  const pid_t pid = host_->EmulatorPid(kDomain);
  host_->Ask({"destroy", kDomain});
  EXPECT_THAT(State(), HasSubstr("shut off (destroyed)"));
  EXPECT_NE(kill(pid, 0), 0) << "the process is gone";
}

TEST_P(Libvirt, ADimmIsAttachedUsedAndDetachedAndItsMemoryIsBackAtTheHost) {
  Start();
  const pid_t pid = host_->EmulatorPid(kDomain);
  AttachDimm();
  EXPECT_THAT(Xml(), HasSubstr("<address type='dimm' slot='0'"));
  EXPECT_THAT(host_->Ask({"dominfo", kDomain}), testing::ContainsRegex("Max memory: +393216 KiB"));
  Guest("fill dimm0");
  EXPECT_THAT(Guest("check dimm0"), HasSubstr("check ok: 65536 pages good"));
  const uint64_t full = Resident(pid);
  EXPECT_GT(full, 256ULL << 20);
  const auto detached = DetachDimm();
  EXPECT_EQ(detached.status, 0) << detached.text;
  host_->WaitFor({"dominfo", kDomain}, "131072 KiB");
  EXPECT_THAT(Xml(), Not(HasSubstr("<memory model=")));
  EXPECT_LT(Resident(pid) + (252ULL << 20), full);
  // The same place once more, and without what was there.
  AttachDimm();
  EXPECT_THAT(Guest("check dimm0"), HasSubstr("0 pages good, 65536 zero (never filled), 0 wrong"));
}

TEST_P(Libvirt, ADimmThatTheGuestHoldsIsRejectedByTheGuest) {
  Start();
  AttachDimm();
  Guest("hold dimm0");
  const auto refused = DetachDimm();
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.text, HasSubstr("rejected by the guest"));
  EXPECT_THAT(Xml(), HasSubstr("<memory model='dimm'"));
  Guest("fill dimm0");
  EXPECT_THAT(Guest("check dimm0"), HasSubstr("check ok")) << "the memory is as usable as before";
  Guest("release dimm0");
  const auto detached = DetachDimm();
  EXPECT_EQ(detached.status, 0) << detached.text;
  host_->WaitFor({"dominfo", kDomain}, "131072 KiB");
}

TEST_P(Libvirt, ResetAndRebootBeginAnewWithTheSameMemory) {
  Start();
  AttachDimm();
  host_->Ask({"reset", kDomain});
  console_->ReadUntil("faultline guest");
  EXPECT_THAT(Guest("mem"), HasSubstr("dimm0"));
  host_->Ask({"reboot", kDomain, "--mode", "acpi"});
  console_->ReadUntil("faultline guest");
  EXPECT_THAT(Guest("mem"), HasSubstr("dimm0"));
  EXPECT_THAT(State(), HasSubstr("running"));
  EXPECT_THAT(Xml(), HasSubstr("<memory model='dimm'"));
}

TEST_P(Libvirt, TheGuestOutlivesTheDaemonWhichFindsItAgain) {
  Start();
  AttachDimm();
  const pid_t pid = host_->EmulatorPid(kDomain);
  host_->KillDaemon();
  EXPECT_EQ(kill(pid, 0), 0);
  host_->StartDaemon();
  host_->WaitFor({"domstate", kDomain}, "running");
  EXPECT_EQ(host_->EmulatorPid(kDomain), pid);
  OpenConsole();
  EXPECT_THAT(Guest("mem"), HasSubstr("dimm0"));
  const auto detached = DetachDimm();
  EXPECT_EQ(detached.status, 0) << detached.text;
  host_->Ask({"shutdown", kDomain});
  host_->WaitFor({"domstate", kDomain}, "shut off");
}

TEST_P(Libvirt, ADimmMayBeThereFromTheStart) {
  std::string xml = DomainXml(GetParam(), std::string("<serial type='pty'/>") + kDimm);
  host_->Ask({"define", host_->File("vm.xml", xml)});
  host_->Ask({"start", kDomain});
  OpenConsole();
  EXPECT_THAT(host_->Ask({"qemu-monitor-command", kDomain, R"({"execute":"query-memory-devices"})"}),
              HasSubstr("\"hotplugged\":false"));
  Guest("fill dimm0");
  EXPECT_THAT(Guest("check dimm0"), HasSubstr("check ok"));
  const auto detached = DetachDimm();
  EXPECT_EQ(detached.status, 0) << detached.text;
}

// What a guest does that has drivers for them: libvirt_linux_test.cc.
TEST_P(Libvirt, TheBalloonAndVirtioMemTakeRequestsThatAGuestWithoutDriversDoesNotFollow) {
  const std::string devices =
      "<serial type='pty'/><memballoon model='virtio'><stats period='5'/><address type='pci' bus='0' slot='4'/>"
      "</memballoon><memory model='virtio-mem'><target><size unit='MiB'>1024</size><node>0</node>"
      "<block unit='MiB'>2</block><requested unit='MiB'>0</requested></target>"
      "<address type='pci' bus='0' slot='5'/></memory>";
  host_->Ask({"create", host_->File("vm.xml", DomainXml(GetParam(), devices))});
  const auto monitor = [this](const char* command) { return host_->Ask({"qemu-monitor-command", kDomain, command}); };
  EXPECT_THAT(host_->Ask({"dommemstat", kDomain}), HasSubstr("actual 131072"));
  EXPECT_THAT(monitor(R"({"execute":"qom-get","arguments":{"path":"/machine/peripheral/balloon0",)"
                      R"("property":"guest-stats-polling-interval"}})"),
              HasSubstr("\"return\":5"));
  host_->Ask({"setmem", kDomain, "100M", "--live"});
  EXPECT_THAT(monitor(R"({"execute":"x-faultline-memory-devices"})"),
              testing::AllOf(HasSubstr("\"requested\":29360128"), HasSubstr("\"held\":0")));
  EXPECT_THAT(host_->Ask({"dommemstat", kDomain}), HasSubstr("actual 131072")) << "the guest has not followed";
  host_->Ask({"update-memory-device", kDomain, "--live", "--requested-size", "256M"});
  EXPECT_THAT(Xml(), testing::AllOf(HasSubstr("<requested unit='KiB'>262144</requested>"),
                                    HasSubstr("<current unit='KiB'>0</current>")));
  EXPECT_THAT(monitor(R"({"execute":"query-memory-devices"})"), HasSubstr("\"requested-size\":268435456"));
  EXPECT_NE(host_->Virsh({"update-memory-device", kDomain, "--live", "--requested-size", "2G"}).status, 0);
  // A dimm beside them takes a slot of its own.
  host_->Ask({"attach-device", kDomain, host_->File("dimm.xml", kDimm), "--live"});
  EXPECT_THAT(Xml(), HasSubstr("<address type='dimm' slot='0'"));
  EXPECT_THAT(monitor(R"({"execute":"query-memory-devices"})"), HasSubstr("\"hotplugged\":true"));
}

TEST_P(Libvirt, AConsoleMayBeAFileOrASocket) {
  const std::string path = *host_ / "console.txt";
  host_->Ask({"create", host_->File("vm.xml", DomainXml(GetParam(), "<serial type='file'><source path='" + path +
                                                                        "'/></serial>"))});
  std::string text;
  while (text.find(kPrompt) == std::string::npos) {
    std::stringstream file;
    file << std::ifstream(path).rdbuf();
    text = file.str();
    ASSERT_THAT(State(), HasSubstr("running"));
  }
  host_->Ask({"destroy", kDomain});
  const std::string socket = *host_ / "console.sock";
  host_->Ask({"create", host_->File("vm.xml", DomainXml(GetParam(), "<serial type='unix'><source mode='bind' path='" +
                                                                        socket + "'/></serial>"))});
  EXPECT_EQ(access(socket.c_str(), F_OK), 0);
  host_->Ask({"destroy", kDomain});
}

TEST_P(Libvirt, SaveAndRestoreKeepARunningCounterExactAndTheDimm) {
  Start();
  AttachDimm();
  StartCounting();
  const std::string file = *host_ / "vm.saved";
  host_->Ask({"save", kDomain, file});
  EXPECT_THAT(State(), HasSubstr("shut off (saved)"));
  host_->Ask({"restore", file});
  EXPECT_THAT(State(), HasSubstr("running (restored)"));
  ExpectCountIsExact();
  EXPECT_THAT(Xml(), HasSubstr("<memory model='dimm'"));
  Guest("fill dimm0");
  EXPECT_THAT(Guest("check dimm0"), HasSubstr("check ok: 65536 pages good"));
  const auto detached = DetachDimm();
  EXPECT_EQ(detached.status, 0) << detached.text;
  host_->WaitFor({"dominfo", kDomain}, "131072 KiB");
  host_->Ask({"reset", kDomain});
  console_->ReadUntil("faultline guest");
}

TEST_P(Libvirt, AManagedSaveIsWhatTheNextStartGoesOnFrom) {
  Start();
  StartCounting();
  host_->Ask({"managedsave", kDomain});
  EXPECT_THAT(State(), HasSubstr("shut off (saved)"));
  host_->Ask({"start", kDomain});
  EXPECT_THAT(State(), HasSubstr("running (restored)"));
  ExpectCountIsExact();
}

TEST_P(Libvirt, AGuestThatDoesNotFitOnTheDiskGoesOnAndADamagedOneIsRefused) {
  Start();
  const std::string small = *host_ / "small";
  std::filesystem::create_directory(small);
  ASSERT_EQ(mount("none", small.c_str(), "tmpfs", 0, "size=256k"), 0);
  StartCounting();
  EXPECT_NE(host_->Virsh({"save", kDomain, small + "/vm.saved"}).status, 0);
  EXPECT_EQ(umount2(small.c_str(), MNT_DETACH), 0);
  EXPECT_THAT(State(), HasSubstr("running"));
  ExpectCountIsExact();
  const std::string file = *host_ / "vm.saved";
  host_->Ask({"save", kDomain, file});
  std::fstream(file, std::ios::in | std::ios::out | std::ios::binary).seekp(-5000, std::ios::end).write("damage", 6);
  const auto refused = host_->Virsh({"restore", file});
  EXPECT_NE(refused.status, 0);
  EXPECT_THAT(refused.text, HasSubstr("the saved VM is damaged"));
  EXPECT_THAT(State(), HasSubstr("shut off"));
}

TEST_P(Libvirt, WhatIsNotSupportedIsRefusedInOneSentenceThatNamesIt) {
  const struct {
    const char* devices;
    const char* sentence;
  } kBad[] = {
      {"<serial type='pty'/><serial type='pty'/>", "keep one <serial>"},
      {"<serial type='pty'/><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/dev/null'/>"
       "<target dev='vda' bus='virtio'/><address type='pci' bus='0' slot='3'/></disk>",
       "add <kernel> to <os>"},
      {"<serial type='tcp'><source mode='bind' host='127.0.0.1' service='0'/></serial>", "<source mode='bind' path="},
      {"<serial type='pty'/><video><model type='vga'/></video>", "video"},
  };
  for (const auto& bad : kBad) {
    const auto answer = host_->Virsh({"create", host_->File("bad.xml", DomainXml(GetParam(), bad.devices))});
    EXPECT_NE(answer.status, 0) << bad.devices;
    EXPECT_THAT(answer.text, HasSubstr(bad.sentence)) << bad.devices;
  }
}

}  // namespace
}  // namespace faultline::e2e
