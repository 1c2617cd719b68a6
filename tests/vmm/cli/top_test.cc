#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "vmm/cli/top_screen.h"

namespace faultline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

VmSample Vm(const std::string& name) {
  VmSample vm;
  vm.name = name;
  vm.pid = 17;
  vm.status = "running";
  vm.answered = true;
  vm.cpus = 2;
  vm.uptime = std::chrono::seconds(10);
  vm.plugged = 1_GiB;
  vm.present = 256_MiB;
  vm.charged = 300_MiB;
  vm.faults = 1000;
  vm.pages = 4000;
  vm.p50 = std::chrono::microseconds(20);
  vm.p99 = std::chrono::milliseconds(2);
  return vm;
}

TEST(TopRates, CountWhatHappenedSinceTheLastLook) {
  std::vector<VmSample> now{Vm("a")};
  VmSample then = Vm("a");
  then.uptime = std::chrono::seconds(8);
  then.faults = 800;
  then.pages = 1000;
  AddRates({then}, &now);
  ASSERT_TRUE(now[0].rates);
  EXPECT_DOUBLE_EQ(now[0].rates->faults, 100);
  EXPECT_DOUBLE_EQ(now[0].rates->pages, 1500);
}

TEST(TopRates, AreUnknownForAVmThatIsNewOrCountsAnew) {
  VmSample another = Vm("a");
  another.pid = 18;
  another.uptime = std::chrono::seconds(1);
  VmSample silent = Vm("a");
  silent.answered = false;
  VmSample before_reset = Vm("a");
  before_reset.uptime = std::chrono::seconds(9);
  before_reset.faults = 5000;
  VmSample same_moment = Vm("a");
  for (const VmSample& then : {another, silent, before_reset, same_moment}) {
    std::vector<VmSample> now{Vm("a")};
    AddRates({then}, &now);
    EXPECT_FALSE(now[0].rates);
  }
}

TEST(TopScreen, ShowsEachVmAndWhereItsPagesAre) {
  VmSample vm = Vm("db");
  vm.rates = VmSample::Rates{12.5, 3.25};
  vm.maps.push_back({"boot",
                     Gpa(0),
                     10_MiB,
                     2_MiB,
                     {2_MiB, 2_MiB, 2_MiB, 2_MiB, Bytes(0)},
                     {2_MiB, 1_MiB, 4_KiB, Bytes(0), Bytes(0)}});
  const std::vector<std::string> lines = DrawTop({vm}, {});
  EXPECT_THAT(lines, ElementsAre("NAME  STATUS   CPUS  PLUGGED  IN USE   CHARGED  FAULTS/s  PAGES/s  P50      P99",
                                 StartsWith("db    running  2     1 GiB    256 MiB  300 MiB  13        3.2      20.0"),
                                 "", "db", "  boot       [█▄▁· ] 3.0 MiB of 8 MiB"));
}

TEST(TopScreen, SaysThatAVmDoesNotAnswerAndThatThereIsNone) {
  VmSample vm;
  vm.name = "hung";
  vm.status = "not answering";
  EXPECT_THAT(DrawTop({vm}, {}), ElementsAre(StartsWith("NAME"), "hung  not answering"));
  EXPECT_THAT(DrawTop({}, {}), ElementsAre(HasSubstr("No VM is running")));
  EXPECT_EQ(ToJson(vm), (nlohmann::json{{"name", "hung"}, {"pid", 0}, {"status", "not answering"}}));
}

TEST(TopScreen, StaysWithinTheTerminal) {
  VmSample vm = Vm("a");
  for (int i = 0; i < 50; ++i) {
    vm.maps.push_back({"dimm\033[31m" + std::to_string(i), Gpa(0), 1_GiB, 2_MiB, std::vector<Bytes>(512, 2_MiB),
                       std::vector<Bytes>(512, 2_MiB)});
  }
  for (const ScreenSize size : {ScreenSize{1, 1}, ScreenSize{20, 5}, ScreenSize{80, 24}}) {
    const std::vector<std::string> lines = DrawTop({vm}, size);
    EXPECT_EQ(lines.size(), size.rows);
    for (const std::string& line : lines) {
      const auto characters = std::ranges::count_if(line, [](char c) { return (c & '\xc0') != '\x80'; });
      EXPECT_LE(static_cast<size_t>(characters), size.columns);
      EXPECT_EQ(line.find('\033'), std::string::npos);
    }
  }
  EXPECT_EQ(MapCells({0, 0}), 8u);
  EXPECT_EQ(MapCells({120, 24}), 80u);
}

}  // namespace
}  // namespace faultline
