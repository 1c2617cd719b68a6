// Memory that is plugged and unplugged from the command line while a guest uses it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "guestmem/types.h"
#include "tests/e2e/program.h"

namespace faultline::e2e {
namespace {

using nlohmann::json;
using testing::ContainsRegex;
using testing::HasSubstr;

class MemoryOfAVm : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasKvm()) GTEST_SKIP() << "/dev/kvm is not there or not for this user";
  }
  // Starts the VM "m" and reads its first prompt.
  void Start(const Words& more = {}) {
    Words words{"run", "--name", "m", "--cpus", "2", "--memory", "64M,max=2G,slots=4"};
    words.insert(words.end(), more.begin(), more.end());
    vm_.emplace(place_, words);
    vm_->ReadUntil(kPrompt);
  }
  Answer Memory(const std::string& verb, Words words) {
    words.insert(words.begin(), {"memory", verb, "m"});
    return place_.Run(words);
  }
  void Plug(const std::string& size) {
    const Answer answer = Memory("plug", {size});
    ASSERT_EQ(answer.status, 0) << answer.err;
    vm_->ReadUntil("zero\n");
    vm_->ReadUntil(kPrompt);
  }
  // What the kernel charges the process for, in bytes.
  uint64_t Charge() const {
    std::ifstream rollup("/proc/" + std::to_string(vm_->pid()) + "/smaps_rollup");
    for (std::string line; std::getline(rollup, line);) {
      unsigned long kib = 0;
      if (std::sscanf(line.c_str(), "Rss: %lu kB", &kib) == 1) return kib * 1024;
    }
    ADD_FAILURE() << "no Rss";
    return 0;
  }

  Workplace place_;
  std::optional<Terminal> vm_;
};

TEST_F(MemoryOfAVm, IsPluggedNoticedFilledCheckedAndUnplugged) {
  Start();
  const Answer plugged = Memory("plug", {"128M"});
  EXPECT_EQ(plugged.status, 0) << plugged.err;
  EXPECT_EQ(plugged.out, "Plugged dimm0: 128 MiB at 0x100000000, slot 0\n");
  EXPECT_THAT(vm_->ReadUntil("zero\n"), HasSubstr("128 MiB at 0x100000000"));
  vm_->ReadUntil(kPrompt);
  EXPECT_THAT(vm_->Command("fill dimm0"), HasSubstr("filled 128 MiB: 32768 pages by 2 vCPUs"));
  EXPECT_THAT(vm_->Command("check dimm0"), HasSubstr("check ok: 32768 pages good"));
  const json devices = place_.Json({"memory", "list", "m"});
  ASSERT_EQ(devices.size(), 1U);
  EXPECT_EQ(devices[0].at("present"), (128_MiB).value);
  EXPECT_THAT(Memory("list", {}).out, HasSubstr("dimm0  0     0x100000000  128 MiB  128 MiB  anonymous  plugged\n"));

  const json outcome = place_.Json({"memory", "unplug", "m", "dimm0"});
  EXPECT_EQ(outcome.at("outcome"), "done");
  EXPECT_EQ(outcome.at("discarded"), (128_MiB).value);
  EXPECT_GT(outcome.at("ns").at("total"), outcome.at("ns").at("slot-delete"));
  EXPECT_EQ(place_.Json({"memory", "list", "m"}), json::array());
  EXPECT_EQ(vm_->Command("mem").find("dimm0"), std::string::npos);
}

TEST_F(MemoryOfAVm, GoesBackToTheHostEveryTime) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's own memory, which grows, is charged to the VM too";
  Start();
  Plug("256M");
  ASSERT_EQ(Memory("unplug", {"dimm0"}).status, 0);
  const uint64_t before = Charge();
  for (int cycle = 0; cycle < 5; ++cycle) {
    Plug("256M");
    ASSERT_THAT(vm_->Command("fill dimm0"), HasSubstr("filled 256 MiB"));
    EXPECT_GT(Charge(), before + (250_MiB).value);
    const Answer answer = Memory("unplug", {"dimm0"});
    ASSERT_EQ(answer.status, 0) << answer.err;
    EXPECT_LT(Charge(), before + (4_MiB).value) << "cycle " << cycle;
  }
  const json memory = place_.Json({"info", "m"}).at("memory");
  EXPECT_EQ(memory.at("plugged"), 0);
  EXPECT_EQ(memory.at("slots-used"), 0);
}

TEST_F(MemoryOfAVm, IsRefusedWhileTheGuestHoldsItAndFreeAfterwards) {
  Start();
  Plug("64M");
  ASSERT_THAT(vm_->Command("hold dimm0"), HasSubstr("held 0x100000000+64M"));
  const Answer refused = Memory("unplug", {"dimm0"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_EQ(refused.out, "");
  EXPECT_THAT(refused.err, HasSubstr("the guest refused to give up memory 'dimm0'"));
  EXPECT_THAT(refused.err, HasSubstr("--force"));
  EXPECT_EQ(std::count(refused.err.begin(), refused.err.end(), '\n'), 1);
  EXPECT_THAT(vm_->Command("fill dimm0"), HasSubstr("filled 64 MiB")) << "it is whole after the refusal";
  ASSERT_THAT(vm_->Command("release dimm0"), HasSubstr("released 1 hold"));
  EXPECT_EQ(Memory("unplug", {"dimm0"}).status, 0);
}

TEST_F(MemoryOfAVm, TakenByForceWhileTheGuestFillsItIsGoneAndTheGuestLives) {
  Start();
  Plug("512M");
  vm_->Type("fill dimm0\r");
  const Answer forced = Memory("unplug", {"dimm0", "--force"});
  EXPECT_EQ(forced.status, 0) << forced.err;
  EXPECT_THAT(forced.out, HasSubstr("Unplugged dimm0: "));
  vm_->ReadUntil(kPrompt);
  EXPECT_THAT(vm_->Command("mem"), HasSubstr("total 62 MiB"));
  // What is not there reads as ones, and is counted.
  EXPECT_THAT(vm_->Command("peek 0x100000000"), HasSubstr("0xffffffffffffffff"));
  EXPECT_GE(place_.Json({"info", "m"}).at("unplugged-accesses"), 1);
  Plug("64M");
  EXPECT_THAT(vm_->Command("peek 0x100000000"), HasSubstr(": 0x0\n")) << "nothing of the earlier memory is left";
}

TEST_F(MemoryOfAVm, AskedOfAGuestThatCannotAnswerTimesOutAndStays) {
  Start();
  Plug("64M");
  ASSERT_EQ(place_.Run({"pause", "m"}).status, 0);
  const Answer late = Memory("unplug", {"dimm0", "--timeout", "100ms"});
  EXPECT_EQ(late.status, 1);
  EXPECT_THAT(late.err, HasSubstr("within 100 ms"));
  ASSERT_EQ(place_.Run({"resume", "m"}).status, 0);
  EXPECT_EQ(place_.Json({"memory", "list", "m"}).size(), 1U);
  EXPECT_EQ(Memory("unplug", {"dimm0"}).status, 0);
}

TEST_F(MemoryOfAVm, StaysWhenTheRequestForItIsWithdrawnByCommandOrByCtrlC) {
  Start();
  Plug("64M");
  ASSERT_EQ(place_.Run({"pause", "m"}).status, 0);
  EXPECT_EQ(Memory("unplug", {"dimm0", "--detach"}).out, "Unplugging dimm0 is operation 1\n");
  EXPECT_THAT(Memory("operations", {}).out, ContainsRegex("1 +dimm0 +64 MiB +(queued|asked) "));
  EXPECT_EQ(Memory("cancel", {"1"}).out, "Withdrew operation 1\n");
  {
    Terminal unplug(place_, {"memory", "unplug", "m", "dimm0", "--timeout", "60s"});
    unplug.ReadUntil("Waiting for the guest");
    unplug.Type("\x03");
    EXPECT_EQ(unplug.Wait(), 1);
    EXPECT_THAT(unplug.rest(), HasSubstr("was withdrawn"));
  }
  const json operations = place_.Json({"memory", "operations", "m"});
  ASSERT_EQ(operations.size(), 2U);
  for (const json& o : operations) EXPECT_EQ(o.at("result").at("outcome"), "withdrawn") << o;
  EXPECT_EQ(Memory("cancel", {"2"}).status, 2) << "it has ended";
  EXPECT_EQ(Memory("cancel", {"3"}).status, 2);
  ASSERT_EQ(place_.Run({"resume", "m"}).status, 0);
  EXPECT_EQ(Memory("unplug", {"dimm0"}).status, 0);
}

TEST_F(MemoryOfAVm, TouchedAfterItWasTakenPausesTheVmWhenThatIsThePolicy) {
  Start({"--on-unplugged-access", "stop"});
  Plug("64M");
  ASSERT_EQ(Memory("unplug", {"dimm0", "--force"}).status, 0);
  vm_->ReadUntil(kPrompt);
  vm_->Type("peek 0x100000000\r");
  vm_->ReadUntil("the VM is paused: ");
  const json info = place_.Json({"info", "m"});
  EXPECT_EQ(info.at("status"), "paused");
  EXPECT_EQ(info.at("pause-reason"), "unplugged-access");
  EXPECT_EQ(place_.Run({"resume", "m"}).status, 0);
  vm_->ReadUntil(kPrompt);
}

TEST_F(MemoryOfAVm, IsNamedForItsSlotUnlessTheUserNamesIt) {
  Start();
  EXPECT_THAT(Memory("plug", {"2M", "--id", "big"}).out, HasSubstr("Plugged big: 2 MiB at 0x100000000, slot 0"));
  EXPECT_THAT(Memory("plug", {"2M"}).out, HasSubstr("Plugged dimm1: "));
  EXPECT_THAT(Memory("plug", {"2M", "--slot", "3", "--address", "0x110000000"}).out,
              HasSubstr("Plugged dimm3: 2 MiB at 0x110000000, slot 3"));
}

TEST_F(MemoryOfAVm, ThatCannotBePluggedLeavesTheVmAsItWas) {
  Start();
  Plug("64M");
  // Without what is present: a page is counted a moment after the guest has it.
  const auto devices = [this] {
    json list = place_.Json({"memory", "list", "m"});
    for (json& device : list) device.erase("present");
    return list;
  };
  const json before = devices();
  const struct {
    const char* verb;
    Words words;
    int status;
    const char* part;
  } kBad[] = {
      {"plug", {"3M"}, 2, "multiple of 2M"},
      {"plug", {"0"}, 2, "nothing"},
      {"plug", {"128"}, 2, "in bytes"},
      {"plug", {"99999999999999999999G"}, 2, "64 bits"},
      {"plug", {"4G"}, 2, ""},
      {"plug", {"2M", "--id", "dimm0"}, 2, "dimm0"},
      {"plug", {"2M", "--id", ""}, 2, "--id"},
      {"plug", {"2M", "--slot", "0"}, 2, "slot"},
      {"plug", {"2M", "--slot", "4"}, 2, "slot"},
      {"plug", {"2M", "--slot", "x"}, 2, "--slot"},
      {"plug", {"2M", "--address", "0x100000000"}, 2, ""},
      {"plug", {"2M", "--address", "0x1000"}, 2, ""},
      {"plug", {"2M", "--address", "here"}, 2, "--address"},
      {"plug", {"2M", "--backing", "tape"}, 2, "tape"},
      {"plug", {"2M", "--backing", "file:/no/such/dir/f"}, 1, "/no/such/dir/f"},
      {"unplug", {"dimm7"}, 2, "dimm7"},
      {"unplug", {"boot"}, 2, "boot"},
      {"unplug", {""}, 2, ""},
      {"unplug", {"dimm0", "--timeout", "5"}, 2, "--timeout"},
      {"unplug", {"dimm0", "--timeout", "0s"}, 2, "--timeout"},
  };
  for (const auto& bad : kBad) {
    const Answer answer = Memory(bad.verb, bad.words);
    const std::string what = std::string(bad.verb) + " " + testing::PrintToString(bad.words) + ": " + answer.err;
    EXPECT_EQ(answer.status, bad.status) << what;
    EXPECT_EQ(answer.out, "") << what;
    EXPECT_THAT(answer.err, HasSubstr(bad.part)) << what;
    EXPECT_TRUE(answer.err.starts_with("faultline: ")) << what;
    EXPECT_EQ(std::count(answer.err.begin(), answer.err.end(), '\n'), 1) << what;
  }
  EXPECT_EQ(devices(), before);
  EXPECT_THAT(vm_->Command("fill dimm0"), HasSubstr("filled 64 MiB"));
}

TEST_F(MemoryOfAVm, ThatTheHostRefusesIsReportedAndNothingChanges) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer cannot live with little address space";
  Start();
  rlimit old{};
  const rlimit tight{256UL << 20, RLIM_INFINITY};
  ASSERT_EQ(prlimit(vm_->pid(), RLIMIT_AS, &tight, &old), 0);
  const Answer answer = Memory("plug", {"1G"});
  ASSERT_EQ(prlimit(vm_->pid(), RLIMIT_AS, &old, nullptr), 0);
  EXPECT_EQ(answer.status, 1) << answer.out;
  EXPECT_THAT(answer.err, HasSubstr("memory"));
  EXPECT_EQ(place_.Json({"memory", "list", "m"}), json::array());
  Plug("64M");
}

TEST_F(MemoryOfAVm, WithoutSlotsIsRefusedWithTheWayOut) {
  vm_.emplace(place_, Words{"run", "--name", "m", "--memory", "64M"});
  vm_->ReadUntil(kPrompt);
  const Answer answer = Memory("plug", {"64M"});
  EXPECT_EQ(answer.status, 2);
  EXPECT_THAT(answer.err, HasSubstr("max"));
  EXPECT_THAT(Memory("list", {}).err, HasSubstr("no plugged memory"));
}

}  // namespace
}  // namespace faultline::e2e
