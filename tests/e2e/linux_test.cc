// A Linux guest from the command line: its devices seen from inside and from the host, and the ways it ends. The
// programs inside are those of tests/guest. A boot takes a quarter of a minute where KVM interprets the kernel, so each
// does as much as it can.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "guestmem/types.h"
#include "tests/e2e/greeting_host.h"
#include "tests/e2e/linux_guest.h"
#include "tests/e2e/program.h"

namespace faultline::e2e {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr size_t kMib = 1 << 20;
// The patterns of tests/guest/commands.h.
char HostByte(size_t i) { return static_cast<char>(i * 7 + i / 256); }
char GuestByte(size_t i) { return static_cast<char>(i * 11 + i / 256 + 1); }

class LinuxGuest : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasKvm()) GTEST_SKIP() << "/dev/kvm is not there or not for this user";
  }
  // `run --linux` with the init of tests/guest, which does `commands`.
  Words Run(const std::string& commands, const Words& more = {}) const {
    Words words{"run",      "--linux",       "--name",   "lx",
                "--memory", "512M",          "--initrd", PathFrom("guest-initrd test"),
                "--append", "-- " + commands};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  uint64_t ResidentBytes(pid_t pid) const {
    std::ifstream rollup("/proc/" + std::to_string(pid) + "/smaps_rollup");
    for (std::string line; std::getline(rollup, line);) {
      unsigned long kib = 0;
      if (std::sscanf(line.c_str(), "Rss: %lu kB", &kib) == 1) return kib * 1024;
    }
    ADD_FAILURE() << "no Rss";
    return 0;
  }
  void MakeDisk(const std::string& path) const {
    std::string content(4 * kMib, '\0');
    for (size_t i = 0; i < kMib; ++i) content[i] = HostByte(i);
    std::ofstream(path, std::ios::binary) << content;
  }
  void ExpectGuestWroteDisk(const std::string& path) const {
    std::ifstream file(path, std::ios::binary);
    std::string content(4 * kMib, '\0');
    file.read(content.data(), static_cast<std::streamsize>(content.size()));
    ASSERT_EQ(file.gcount(), static_cast<std::streamsize>(content.size()));
    size_t wrong = 0;
    for (size_t i = 0; i < kMib; ++i) wrong += content[kMib + i] != GuestByte(i) || content[i] != HostByte(i);
    EXPECT_EQ(wrong, 0U) << "bytes on the host's disk differ from what the guest was told to write";
  }

  Workplace place_;
};

TEST_F(LinuxGuest, ReachesDiskNetworkEntropyAndConsoleAndPowersOff) {
  const std::string disk = place_ / "disk.img";
  MakeDisk(disk);
  const GreetingHost host;
  const uint16_t forwarded = FreeTcpPort();
  const std::string port = std::to_string(host.port());
  const std::string commands =
      "disk=/dev/vda net tcp=" + port + " udp=" + port + " listen=77 rng console touch=64 console poweroff";
  Terminal vm(place_, Run(commands, {"--paused", "--disk", disk, "--net",
                                     "user,hostfwd=tcp:127.0.0.1:" + std::to_string(forwarded) + "-:77", "--rng"}));
  vm.SetPatience(kSilence);
  // Loaded, but not run: no more is resident than what was put there.
  while (place_.Run({"info", "lx"}).status != 0) usleep(10000);
  struct stat kernel {};
  ASSERT_EQ(stat(PathFrom("guest-kernel").c_str(), &kernel), 0);
  EXPECT_LT(ResidentBytes(vm.pid()), static_cast<uint64_t>(kernel.st_size) + 10 * kMib);

  ASSERT_EQ(place_.Run({"resume", "lx"}).status, 0);
  vm.ReadUntil(kInitRuns);
  vm.ReadUntil("disk: ok");
  vm.ReadUntil("net: ok, address 10.0.2.15, gateway 10.0.2.2 answers");
  vm.ReadUntil("tcp: ok");
  vm.ReadUntil("udp: ok");
  vm.ReadUntil("listen: ready");
  EXPECT_EQ(Greet(forwarded, "anybody there?"), "anybody there?");
  vm.ReadUntil("listen: ok");
  vm.ReadUntil("rng: ok");

  vm.ReadUntil("console: type a line");
  const uint64_t before = ResidentBytes(vm.pid());
  const json disks = place_.Json({"info", "lx"}).at("disks");
  EXPECT_EQ(disks.at(0).at("path"), disk);
  EXPECT_EQ(disks.at(0).at("writes").at("bytes"), kMib);
  EXPECT_THAT(place_.Run({"info", "lx"}).out, HasSubstr("(1 MiB) writes"));
  const json faults = place_.Json({"info", "lx"}).at("faults");
  EXPECT_GT(faults.at("faults"), 0);
  EXPECT_GT(faults.at("writes"), 0);
  vm.Type("first line\r");
  vm.ReadUntil("console: ok, read 'first line'");
  vm.ReadUntil("touch: ok, 64 MiB");
  vm.ReadUntil("console: type a line");
  EXPECT_GT(ResidentBytes(vm.pid()), before + 32 * kMib) << "touched memory is not there";
  vm.Type("second line\r");
  EXPECT_EQ(vm.Wait(), 0);
  EXPECT_THAT(vm.rest(), HasSubstr("the guest powered off"));
  ExpectGuestWroteDisk(disk);
}

TEST_F(LinuxGuest, WithTwoVcpusAnswersOnTheVirtioConsoleAndReboots) {
  Terminal vm(place_, Run("hvc reboot", {"--cpus", "2", "--virtio-console"}));
  vm.SetPatience(kSilence);
  vm.ReadUntil(kInitRuns);
  EXPECT_THAT(vm.ReadUntil("\n"), HasSubstr("CPUs 0-1,"));
  vm.ReadUntil("hvc: type a line");
  vm.Type("over virtio\r");
  vm.ReadUntil("hvc: ok, read 'over virtio'");
  EXPECT_EQ(vm.Wait(), 4);
  EXPECT_THAT(vm.rest(), HasSubstr("rebooted"));
}

TEST_F(LinuxGuest, WithFourVcpusFollowsThePowerButton) {
  Terminal vm(place_, Run("stay", {"--cpus", "4"}));
  vm.SetPatience(kSilence);
  vm.ReadUntil(kInitRuns);
  EXPECT_THAT(vm.ReadUntil("\n"), HasSubstr("CPUs 0-3,"));
  vm.ReadUntil("stay: until");
  EXPECT_EQ(place_.Run({"shutdown", "lx", "--timeout", "10m"}).status, 0);
  EXPECT_EQ(vm.Wait(), 0);
  EXPECT_THAT(vm.rest(), HasSubstr("shut down as requested"));
}

// By PVH too: its 32-bit entry, and no random seed.
TEST_F(LinuxGuest, StartedByPvhSaysThatItsKernelPanicked) {
  Terminal vm(place_, {"run", "--name", "lx", "--memory", "512M", "--kernel", PathFrom("guest-kernel pvh"), "--initrd",
                       PathFrom("guest-initrd test"), "--append", "-- panic"});
  vm.SetPatience(kSilence);
  vm.ReadUntil(kInitRuns);
  vm.ReadUntil("Kernel panic");
  EXPECT_EQ(vm.Wait(), 6);
  EXPECT_THAT(vm.rest(), HasSubstr("panicked"));
}

TEST_F(LinuxGuest, IsNotTheOnlyOneThatBoots) {
  constexpr const char* kMemtest = "/boot/memtest86+x64.bin";
  if (!std::filesystem::exists(kMemtest)) GTEST_SKIP() << kMemtest << " is not installed";
  Terminal vm(place_, {"run", "--name", "mt", "--memory", "64M", "--kernel", kMemtest, "--append", "console=ttyS0"});
  vm.SetPatience(kSilence);
  vm.ReadUntil("Memtest86+");
  vm.Type("\x01x");
  EXPECT_EQ(vm.Wait(), 0);
}

}  // namespace
}  // namespace faultline::e2e
