// Linux takes plugged memory into use, gives it back, and says no when it cannot: ACPI memory devices from the command
// line, seen from inside and from the host.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "guestmem/types.h"
#include "tests/e2e/linux_guest.h"

namespace faultline::e2e {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

constexpr const char* kGuestTime = "600s";

class LinuxMemory : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasKvm()) GTEST_SKIP() << "/dev/kvm is not there or not for this user";
    vm_.emplace(place_, Words{"run", "--linux", "--name", "lx", "--memory", "512M,max=2G,slots=4,nodes=2", "--initrd",
                              PathFrom("guest-initrd test"), "--append",
                              "memhp_default_state=online_movable -- shell poweroff"});
    vm_->SetPatience(kSilence);
    vm_->ReadUntil(kInitRuns);
    vm_->ReadUntil("shell: ready");
  }
  // Has the guest do `command` and returns what it printed.
  std::string Guest(const std::string& command) {
    vm_->Type(command + "\r");
    std::string text = vm_->ReadUntil("shell: ready");
    EXPECT_THAT(text, HasSubstr("shell: done")) << command;
    return text;
  }
  // Of the guest, in bytes.
  uint64_t MemTotal() {
    const std::string text = Guest("memory");
    unsigned long kib = 0;
    const size_t at = text.find("MemTotal ");
    EXPECT_NE(at, std::string::npos) << text;
    if (at != std::string::npos) std::sscanf(text.c_str() + at, "MemTotal %lu", &kib);
    return uint64_t{kib} * 1024;
  }
  // What the kernel charges the VM's process for, in bytes.
  uint64_t Charge() const {
    std::ifstream rollup("/proc/" + std::to_string(vm_->pid()) + "/smaps_rollup");
    for (std::string line; std::getline(rollup, line);) {
      unsigned long kib = 0;
      if (std::sscanf(line.c_str(), "Rss: %lu kB", &kib) == 1) return uint64_t{kib} * 1024;
    }
    ADD_FAILURE() << "no Rss";
    return 0;
  }
  json Device() const { return place_.Json({"memory", "list", "lx"}).at(0); }
  // Plugs, and waits until the guest says that it has taken the memory into use.
  void Plug(const Words& what) {
    const auto start = Clock::now();
    Words words{"memory", "plug", "lx"};
    words.insert(words.end(), what.begin(), what.end());
    const Answer answer = place_.Run(words);
    ASSERT_EQ(answer.status, 0) << answer.err;
    while (!Device().contains("guest")) {
      ASSERT_LT(Clock::now() - start, kSilence) << "the guest says nothing";
      usleep(300000);
    }
    EXPECT_TRUE(Device().at("guest").at("accepted").get<bool>()) << Device();
    Say("plugged and onlined", Clock::now() - start);
  }
  json Unplug(int status) {
    const Answer answer = place_.Run({"memory", "unplug", "lx", "dimm0", "--timeout", kGuestTime, "--json"});
    EXPECT_EQ(answer.status, status) << answer.err;
    json outcome = json::parse(answer.out);
    Say("asked: the guest answered", std::chrono::nanoseconds(outcome.at("guest-ns").get<int64_t>()));
    if (outcome.contains("ns")) {
      Say("given back to the host", std::chrono::nanoseconds(outcome.at("ns").at("total").get<int64_t>()));
    }
    return outcome;
  }
  static void Say(const char* what, Clock::duration time) {
    std::printf("%s after %.3f s\n", what, std::chrono::duration<double>(time).count());
  }

  Workplace place_;
  std::optional<Terminal> vm_;
};

TEST_F(LinuxMemory, IsOnlinedTouchedGivenBackAndRefusedWhileItCannotBeMoved) {
  const uint64_t total = MemTotal();
  Plug({"256M"});
  EXPECT_EQ(MemTotal(), total + (256_MiB).value);
  Guest("keep=16");
  EXPECT_GE(Device().at("present"), (12_MiB).value) << "memory of programs is taken from the movable zone first";
  Guest("check");

  const uint64_t charge = Charge();
  const uint64_t present = Device().at("present");
  json outcome = Unplug(0);
  EXPECT_EQ(outcome.at("outcome"), "done") << outcome;
  const uint64_t charge_after = Charge();
  EXPECT_EQ(MemTotal(), total);
  EXPECT_LE(charge_after, charge - present + (4_MiB).value) << present << " bytes were in use";
  std::printf("host charge: %lu KiB before, %lu KiB after; %lu KiB were in use\n", charge / 1024, charge_after / 1024,
              present / 1024);

  // On a node of its own nothing of the kernel's gets there but what is put there on purpose.
  Guest("online=online_kernel");
  Plug({"128M", "--node", "1"});
  Guest("pin=1");
  EXPECT_GT(Device().at("present"), 0U) << "the pages are elsewhere";
  outcome = Unplug(1);
  EXPECT_EQ(outcome.at("outcome"), "refused") << outcome;
  EXPECT_EQ(outcome.at("ost-status"), 0x82) << outcome;
  EXPECT_EQ(outcome.at("id"), "dimm0");
  EXPECT_EQ(outcome.at("addr"), Device().at("addr"));
  EXPECT_THAT(outcome.at("reason"), HasSubstr("device busy"));
  EXPECT_FALSE(Device().at("unplugging").get<bool>());
  EXPECT_EQ(MemTotal(), total + (128_MiB).value) << "it is in use again";
  Guest("unpin");
  outcome = Unplug(0);
  EXPECT_EQ(outcome.at("outcome"), "done") << outcome;
  EXPECT_EQ(MemTotal(), total);
  EXPECT_EQ(place_.Json({"memory", "operations", "lx"}).size(), 3U);

  vm_->Type("exit\r");
  EXPECT_EQ(vm_->Wait(), 0);
}

}  // namespace
}  // namespace faultline::e2e
