// Names, list, info, pause, resume, shutdown, kill, events: one VM seen from other terminals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/e2e/program.h"

namespace faultline::e2e {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class LifeOfAVm : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasKvm()) GTEST_SKIP() << "/dev/kvm is not there or not for this user";
  }
  Words Names() const {
    Words names;
    for (const json& vm : place_.Json({"list"})) names.push_back(vm.at("name"));
    return names;
  }
  Workplace place_;
};

TEST_F(LifeOfAVm, ListAndInfoShowWhatRuns) {
  EXPECT_EQ(Names(), Words{});
  Terminal a(place_, {"run", "--name", "a", "--cpus", "2", "--memory", "64M,max=1G,slots=2"});
  Terminal b(place_, {"run"});
  a.ReadUntil(kPrompt);
  b.ReadUntil(kPrompt);
  EXPECT_EQ(Names(), (Words{"a", "vm1"}));
  EXPECT_THAT(place_.Run({"list"}).out, HasSubstr("a     " + std::to_string(a.pid())));
  const json info = place_.Json({"info", "a"});
  EXPECT_EQ(info.at("pid"), a.pid());
  EXPECT_EQ(info.at("cpus"), 2);
  EXPECT_EQ(info.at("status"), "running");
  EXPECT_EQ(info.at("console"), "stdio");
  EXPECT_EQ(info.at("memory").at("slots"), 2);
  EXPECT_GT(info.at("faults").at("faults"), 0);
  EXPECT_THAT(place_.Run({"info", "a"}).out, HasSubstr("64 MiB at boot"));
}

TEST_F(LifeOfAVm, ASecondOneOfTheSameNameIsRefusedAndTheFirstUntouched) {
  Terminal first(place_, {"run", "--name", "a"});
  first.ReadUntil(kPrompt);
  const Answer second = place_.Run({"run", "--name", "a"});
  EXPECT_EQ(second.status, 2);
  EXPECT_THAT(second.err, HasSubstr("'a' is running already (pid " + std::to_string(first.pid()) + ")"));
  EXPECT_THAT(first.Command("mem"), HasSubstr("total"));
  EXPECT_EQ(Names(), Words{"a"});
}

TEST_F(LifeOfAVm, OneThatWasKilledHardIsForgottenAndItsNameFree) {
  {
    Terminal dead(place_, {"run", "--name", "a"});
    dead.ReadUntil(kPrompt);
    dead.Signal(SIGKILL);
    EXPECT_EQ(dead.Wait(), 128 + SIGKILL);
  }
  ASSERT_TRUE(std::filesystem::exists(place_.socket_file("a"))) << "SIGKILL leaves the socket behind";
  const Answer gone = place_.Run({"info", "a"});
  EXPECT_EQ(gone.status, 2);
  EXPECT_THAT(gone.err, HasSubstr("no VM named 'a' is running"));
  EXPECT_FALSE(std::filesystem::exists(place_.socket_file("a")));
  Terminal next(place_, {"run", "--name", "a"});
  next.ReadUntil(kPrompt);
  EXPECT_EQ(Names(), Words{"a"});
}

TEST_F(LifeOfAVm, PauseStopsTheGuestAndResumeLetsItGoOn) {
  Terminal vm(place_, {"run", "--name", "a"});
  vm.ReadUntil(kPrompt);
  EXPECT_EQ(place_.Run({"pause", "a"}).out, "VM 'a' is paused\n");
  EXPECT_EQ(place_.Json({"info", "a"}).at("pause-reason"), "requested");
  EXPECT_EQ(place_.Run({"pause", "a"}).status, 0) << "twice is once";
  vm.Type("mem\r");
  EXPECT_EQ(place_.Json({"resume", "a"}), (json{{"name", "a"}, {"status", "running"}}));
  EXPECT_THAT(vm.ReadUntil(kPrompt), HasSubstr("total")) << "what was typed meanwhile is not lost";
}

TEST_F(LifeOfAVm, StartedPausedItWaitsForResume) {
  Terminal vm(place_, {"run", "--name", "a", "--paused"});
  vm.ReadUntil("Ctrl-A x");
  while (Names() != Words{"a"}) usleep(1000);
  EXPECT_NE(place_.Json({"info", "a"}).at("status"), "running");
  EXPECT_EQ(place_.Run({"resume", "a"}).status, 0);
  vm.ReadUntil(kPrompt);
}

TEST_F(LifeOfAVm, ShutdownAsksTheGuestAndWaits) {
  Terminal vm(place_, {"run", "--name", "a"});
  vm.ReadUntil(kPrompt);
  EXPECT_EQ(place_.Run({"shutdown", "a"}).out, "VM 'a' has ended\n");
  EXPECT_EQ(vm.Wait(), 0);
  EXPECT_THAT(vm.rest(), HasSubstr("the guest shut down as requested"));
}

TEST_F(LifeOfAVm, ShutdownOfAGuestThatDoesNotListenGivesUp) {
  Terminal vm(place_, {"run", "--name", "a"});
  vm.ReadUntil(kPrompt);
  ASSERT_EQ(place_.Run({"pause", "a"}).status, 0);
  const Answer answer = place_.Run({"shutdown", "a", "--timeout", "100ms"});
  EXPECT_EQ(answer.status, 1);
  EXPECT_THAT(answer.err, HasSubstr("faultline kill a"));
}

TEST_F(LifeOfAVm, KillEndsItAtOnce) {
  Terminal vm(place_, {"run", "--name", "a"});
  vm.ReadUntil(kPrompt);
  EXPECT_EQ(place_.Json({"kill", "a"}), (json{{"name", "a"}, {"status", "ended"}, {"sigkill", false}}));
  EXPECT_EQ(vm.Wait(), 0);
  EXPECT_THAT(vm.rest(), HasSubstr("VM 'a' ended: it was killed"));
  EXPECT_EQ(Names(), Words{});
}

TEST_F(LifeOfAVm, KillEndsOneThatHangsByForce) {
  Terminal vm(place_, {"run", "--name", "a"});
  vm.ReadUntil(kPrompt);
  vm.Signal(SIGSTOP);
  EXPECT_EQ(place_.Json({"list"}).at(0).at("status"), "not answering");
  EXPECT_EQ(place_.Json({"kill", "a"}).at("sigkill"), true);
  EXPECT_EQ(vm.Wait(), 128 + SIGKILL);
  EXPECT_FALSE(std::filesystem::exists(place_.socket_file("a")));
}

TEST_F(LifeOfAVm, EventsFollowsUntilTheVmEnds) {
  Terminal vm(place_, {"run", "--name", "a", "--memory", "64M,max=1G,slots=2"});
  vm.ReadUntil(kPrompt);
  Terminal plain(place_, {"events", "a"});
  Terminal lines(place_, {"events", "a", "--json"});
  // What happens before they listen is not theirs to see, so something is made to happen until both have.
  for (Terminal* listener : {&plain, &lines}) {
    while (listener->rest().find("RESUME") == std::string::npos) {
      ASSERT_EQ(place_.Run({"pause", "a"}).status, 0);
      ASSERT_EQ(place_.Run({"resume", "a"}).status, 0);
      listener->ReadNow();
    }
  }
  ASSERT_EQ(place_.Run({"memory", "plug", "a", "2M"}).status, 0);
  ASSERT_EQ(place_.Run({"memory", "unplug", "a", "dimm0"}).status, 0);
  EXPECT_THAT(plain.ReadUntil("X_FAULTLINE_MEMORY_UNPLUG"), HasSubstr("DEVICE_DELETED  device=dimm0"));
  lines.ReadUntil("\"X_FAULTLINE_MEMORY_UNPLUG\"");
  ASSERT_EQ(place_.Run({"kill", "a"}).status, 0);
  EXPECT_EQ(plain.Wait(), 0);
  EXPECT_EQ(lines.Wait(), 0);
  EXPECT_THAT(plain.rest(), HasSubstr("SHUTDOWN"));
  const std::string last = lines.rest().substr(0, lines.rest().find_last_not_of('\n') + 1);
  const json event = json::parse(last.substr(last.rfind('\n') + 1));
  EXPECT_EQ(event.at("event"), "X_FAULTLINE_EXITED");
  EXPECT_EQ(event.at("data").at("kind"), "killed");
}

TEST_F(LifeOfAVm, EventsOfAVmThatVanishesEndInAnError) {
  Terminal vm(place_, {"run", "--name", "a"});
  vm.ReadUntil(kPrompt);
  Terminal events(place_, {"events", "a"});
  while (events.rest().find("RESUME") == std::string::npos) {
    ASSERT_EQ(place_.Run({"pause", "a"}).status, 0);
    ASSERT_EQ(place_.Run({"resume", "a"}).status, 0);
    events.ReadNow();
  }
  vm.Signal(SIGKILL);
  EXPECT_EQ(events.Wait(), 1);
  EXPECT_THAT(events.rest(), HasSubstr("ended by force"));
}

}  // namespace
}  // namespace faultline::e2e
