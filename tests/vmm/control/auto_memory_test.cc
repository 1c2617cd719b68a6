#include "vmm/control/auto_memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/vmm/control/command_runner.h"
#include "tests/vmm/control/fake_balloon.h"
#include "tests/vmm/control/temp_dir.h"
#include "vmm/control/host_pressure.h"

namespace faultline {
namespace {

using nlohmann::json;
using std::chrono::seconds;

class AutoMemoryTest : public testing::Test {
 protected:
  AutoMemoryTest() {
    vm_.SetBalloon(&balloon_);
    vm_.config().balloon->deflate_on_oom = false;  // Linux's total shrinks by what the balloon holds
  }
  void GuestHas(Bytes total, Bytes available) {
    balloon_.the_statistics.values[5] = total.value;
    balloon_.the_statistics.values[6] = available.value;
    balloon_.the_statistics.updated = std::chrono::system_clock::now();
  }
  void AddMem() {
    VirtioMemInfo mem;
    mem.id = "vmem0";
    mem.region = {Gpa(0x140000000), 1_GiB};
    mem.block = 2_MiB;
    vm_.mems.push_back(mem);
  }
  json Tick() {
    now_ += seconds(20);
    auto_.Tick(vm_, now_);
    return auto_.Report();
  }

  FakeVm vm_;  // of 256 MiB
  FakeBalloon balloon_;
  MemoryPolicy::Clock::time_point now_{seconds(1000)};
  AutoMemory auto_{[] { return 0.5; }};
};

TEST_F(AutoMemoryTest, DoesNothingWhileOff) {
  GuestHas(256_MiB, 250_MiB);
  EXPECT_EQ(Tick(), (json{{"mode", "off"}, {"changes", 0}}));
  EXPECT_EQ(balloon_.the_state.target, Bytes(0));
}

TEST_F(AutoMemoryTest, ADryRunTellsWhatItWouldDoAndDoesNot) {
  auto_.SetMode(AutoMemoryMode::kDryRun, vm_);
  GuestHas(256_MiB, 250_MiB);
  const json report = Tick();
  EXPECT_EQ(balloon_.the_state.target, Bytes(0));
  EXPECT_LT(report.at("target"), report.at("requested"));
  EXPECT_EQ(report.at("acted"), false);
  EXPECT_EQ(report.at("changes"), 0);
  EXPECT_EQ(report.at("host-pressure"), 0.5);
}

TEST_F(AutoMemoryTest, SqueezesAnIdleGuestByTheBalloonAndGivesBackWhatItNeeds) {
  auto_.SetMode(AutoMemoryMode::kOn, vm_);
  GuestHas(256_MiB, 240_MiB);
  EXPECT_EQ(Tick().at("acted"), true);
  const Bytes held = balloon_.the_state.target;
  EXPECT_EQ(held, 64_MiB) << "a quarter at a time";
  balloon_.the_state.held = held;
  GuestHas(192_MiB, 8_MiB);
  const json report = Tick();
  EXPECT_EQ(report.at("lever"), "balloon");
  EXPECT_LT(balloon_.the_state.target, held);
  EXPECT_EQ(report.at("changes"), 2);
}

TEST_F(AutoMemoryTest, LeavesTheGuestAQuarterOfItsMemory) {
  auto_.SetMode(AutoMemoryMode::kOn, vm_);
  for (int i = 0; i < 20; ++i) {
    const Bytes total = 256_MiB - balloon_.the_state.held;
    GuestHas(total, total - 1_MiB);
    Tick();
    balloon_.the_state.held = balloon_.the_state.target;
  }
  EXPECT_EQ(balloon_.the_state.held, 192_MiB);
}

TEST_F(AutoMemoryTest, DoesNotCountWhatTheBalloonHasWhereTheGuestDoes) {
  vm_.config().balloon->deflate_on_oom = true;  // and then it does not
  auto_.SetMode(AutoMemoryMode::kDryRun, vm_);
  balloon_.the_state.target = balloon_.the_state.held = 128_MiB;
  GuestHas(256_MiB, 100_MiB);
  EXPECT_EQ(Tick().at("guest-total"), (128_MiB).value);
  GuestHas(64_MiB, 32_MiB);
  EXPECT_EQ(Tick().at("target"), (128_MiB).value) << "figures that make no sense change nothing";
}

TEST_F(AutoMemoryTest, PrefersVirtioMemWhereThereIsOne) {
  AddMem();
  auto_.SetMode(AutoMemoryMode::kOn, vm_);
  GuestHas(256_MiB, 8_MiB);
  EXPECT_EQ(Tick().at("lever"), "vmem0");
  EXPECT_GT(vm_.mems[0].state.requested, 64_MiB);
  EXPECT_EQ(balloon_.the_state.target, Bytes(0));
}

TEST_F(AutoMemoryTest, AsksForStatisticsAndDoesNotActOnOldOnes) {
  auto_.SetMode(AutoMemoryMode::kOn, vm_);
  EXPECT_NE(Tick().at("waiting-for").get<std::string>().find("statistics"), std::string::npos);
  EXPECT_EQ(balloon_.statistics_interval(), AutoMemory::kPeriod);
  GuestHas(256_MiB, 250_MiB);
  balloon_.the_statistics.updated -= AutoMemory::kFresh + seconds(1);
  EXPECT_TRUE(Tick().contains("waiting-for"));
  EXPECT_EQ(balloon_.the_state.target, Bytes(0));
  balloon_.SetStatisticsInterval(seconds(1));
  Tick();
  EXPECT_EQ(balloon_.statistics_interval(), seconds(1)) << "another's wish stands";
}

TEST_F(AutoMemoryTest, AVmWithoutABalloonIsRefusedAndOneThatLosesItIsLeftAlone) {
  vm_.SetBalloon(nullptr);
  EXPECT_THROW(auto_.SetMode(AutoMemoryMode::kOn, vm_), UsageError);
  EXPECT_EQ(auto_.mode(), AutoMemoryMode::kOff);
  vm_.SetBalloon(&balloon_);
  auto_.SetMode(AutoMemoryMode::kOn, vm_);
  vm_.SetBalloon(nullptr);
  EXPECT_TRUE(Tick().contains("waiting-for"));
}

using AutoMemoryCommand = CommandRunner;

TEST_F(AutoMemoryCommand, SetsAndTellsTheMode) {
  EXPECT_NE(Error("x-faultline-memory-auto", {{"mode", "on"}}).find("--balloon"), std::string::npos);
  FakeBalloon balloon;
  vm_.SetBalloon(&balloon);
  EXPECT_EQ(Run("x-faultline-memory-auto").at("mode"), "off");
  EXPECT_EQ(Run("x-faultline-memory-auto", {{"mode", "dry-run"}}).at("mode"), "dry-run");
  EXPECT_EQ(Run("x-faultline-memory-auto").at("mode"), "dry-run");
  EXPECT_NE(Error("x-faultline-memory-auto", {{"mode", "maybe"}}).find("'maybe'"), std::string::npos);
}

TEST(HostMemoryPressure, ReadsWhatTheKernelWrites) {
  const TempDir dir;
  const std::string path = dir.path() + "/memory";
  const auto read = [&path](const std::string& text) {
    std::ofstream(path) << text;
    return HostMemoryPressure(path);
  };
  EXPECT_EQ(read("some avg10=12.34 avg60=1.00 avg300=0.00 total=5\nfull avg10=3.00 avg60=0.00 avg300=0.00 total=0\n"),
            12.34);
  EXPECT_EQ(read("some avg10=0.00 avg60=1.00 avg300=0.00 total=5\n"), 0.0);
  for (const char* bad : {"", "some", "some avg10=", "some avg10=x", "full avg10=1.00", "some avg10=-1",
                          "some avg10=101", "some avg10=nan"}) {
    EXPECT_EQ(read(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(HostMemoryPressure(dir.path() + "/none"), std::nullopt);
}

}  // namespace
}  // namespace faultline
