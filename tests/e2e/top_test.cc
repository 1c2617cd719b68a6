// `faultline top`: in a terminal, into a pipe and as JSON.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "guestmem/types.h"
#include "tests/e2e/program.h"

namespace faultline::e2e {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr const char* kAlternateScreen = "\033[?1049h";
constexpr const char* kOrdinaryScreen = "\033[?1049l";

class WatchingVms : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasKvm()) GTEST_SKIP() << "/dev/kvm is not there or not for this user";
  }
  Workplace place_;
};

TEST_F(WatchingVms, JsonTellsRatesAndWhereThePagesAre) {
  EXPECT_EQ(place_.Json({"top"}), json::array());
  Terminal vm(place_, {"run", "--name", "a", "--memory", "64M,max=1G,slots=2"});
  vm.ReadUntil(kPrompt);
  ASSERT_EQ(place_.Run({"memory", "plug", "a", "64M"}).status, 0);
  vm.ReadUntil("dimm0 plugged");
  vm.ReadUntil(kPrompt);
  EXPECT_THAT(vm.Command("fill dimm0"), HasSubstr("filled 64 MiB"));
  const json list = place_.Json({"top", "--interval", "100ms"});
  ASSERT_EQ(list.size(), 1U);
  const json& top = list[0];
  EXPECT_EQ(top.at("name"), "a");
  EXPECT_EQ(top.at("pid"), vm.pid());
  EXPECT_EQ(top.at("plugged"), (128_MiB).value);
  EXPECT_GE(top.at("charged"), top.at("present"));
  EXPECT_GE(top.at("faults-per-second"), 0);
  EXPECT_GE(top.at("latency-ns").at("p99"), top.at("latency-ns").at("p50"));
  ASSERT_EQ(top.at("maps").size(), 2U);
  const json& dimm = top.at("maps")[1];
  EXPECT_EQ(dimm.at("id"), "dimm0");
  EXPECT_EQ(dimm.at("size"), (64_MiB).value);
  EXPECT_EQ(dimm.at("present"), dimm.at("plugged")) << "every page of it was filled";
  uint64_t boot = 0;
  for (const json& cell : top.at("maps")[0].at("present")) boot += cell.get<uint64_t>();
  EXPECT_EQ(boot + (64_MiB).value, top.at("present"));
}

TEST_F(WatchingVms, APipeGetsOnePicture) {
  EXPECT_THAT(place_.Run({"top"}).out, HasSubstr("No VM is running"));
  Terminal vm(place_, {"run", "--name", "a"});
  vm.ReadUntil(kPrompt);
  const Answer answer = place_.Run({"top", "--interval", "100ms"});
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_THAT(answer.out, HasSubstr("FAULTS/s"));
  EXPECT_THAT(answer.out, HasSubstr("\n  boot       ["));
  EXPECT_EQ(answer.out.find('\033'), std::string::npos);
}

TEST_F(WatchingVms, ATerminalShowsVmsComeAndGoUntilAKeyEndsIt) {
  Terminal reference(place_, {"version"});
  const termios before = reference.Settings();
  reference.Wait();
  Terminal top(place_, {"top", "--interval", "100ms"});
  top.ReadUntil(kAlternateScreen);
  top.ReadUntil("No VM is running");
  {
    Terminal vm(place_, {"run", "--name", "comes"});
    vm.ReadUntil(kPrompt);
    top.ReadUntil("FAULTS/s");
    top.ReadUntil("\ncomes");
    top.ReadUntil("  boot");
    vm.Type("halt\r");
    vm.Wait();
  }
  top.ReadUntil("No VM is running");
  top.Type("q");
  EXPECT_EQ(top.Wait(), 0);
  EXPECT_THAT(top.rest(), HasSubstr(kOrdinaryScreen));
  EXPECT_EQ(top.Settings().c_lflag, before.c_lflag);
}

TEST_F(WatchingVms, CtrlCAndSignalsEndItAndLeaveTheTerminalAsItWas) {
  Terminal reference(place_, {"version"});
  const termios before = reference.Settings();
  reference.Wait();
  for (const int signal : {0, SIGTERM, SIGHUP, SIGINT}) {
    Terminal top(place_, {"top"});
    top.ReadUntil("No VM is running");
    if (signal == 0) {
      top.Type("\x03");
    } else {
      top.Signal(signal);
    }
    EXPECT_EQ(top.Wait(), 0) << signal;
    EXPECT_THAT(top.rest(), HasSubstr(kOrdinaryScreen));
    EXPECT_EQ(top.Settings().c_lflag, before.c_lflag);
  }
}

TEST(Top, AnIntervalThatMakesNoSenseIsRefused) {
  const Workplace place;
  const Answer answer = place.Run({"top", "--interval", "1ms"});
  EXPECT_EQ(answer.status, 2);
  EXPECT_THAT(answer.err, HasSubstr("100ms or more"));
}

}  // namespace
}  // namespace faultline::e2e
