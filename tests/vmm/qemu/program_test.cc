// The program itself, as libvirt asks it what it can do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "guestmem/error.h"
#include "tests/vmm/control/temp_dir.h"
#include "vmm/control/qmp_client.h"

namespace faultline {
namespace {

using nlohmann::json;

class Probe : public testing::Test {
 protected:
  Probe() {
    const std::string command = std::string(FAULTLINE_EMULATOR) +
                                " -S -no-user-config -nodefaults -nographic -machine none,accel=kvm:tcg -qmp unix:" +
                                dir_ / "m.sock,server=on,wait=off -pidfile " + dir_ / "pid -daemonize";
    status_ = std::system(command.c_str());
  }
  ~Probe() override {
    if (Pid() > 1) kill(Pid(), SIGKILL);
  }
  pid_t Pid() const {
    pid_t pid = 0;
    std::ifstream(dir_ / "pid") >> pid;
    return pid;
  }
  json Ask(const std::string& command, const json& arguments = json::object()) {
    const auto deadline = QmpClient::Clock::now() + std::chrono::seconds(60);
    if (!client_) client_.emplace(dir_ / "m.sock", "probe", deadline);
    return client_->Execute(command, arguments, deadline);
  }

  TempDir dir_;
  std::optional<QmpClient> client_;
  int status_ = -1;
};

TEST_F(Probe, IsThereToBeAskedWhenItsParentEnds) {
  EXPECT_EQ(status_, 0);
  EXPECT_GT(Pid(), 1);
  EXPECT_EQ(Ask("query-target").at("arch"), "x86_64");
  EXPECT_EQ(Ask("query-machines").size(), 2U);
  EXPECT_TRUE(Ask("query-command-line-options").is_array());
}

TEST_F(Probe, AdvertisesOnlyCommandsAndTypesThatAreThere) {
  for (const json& command : Ask("query-commands")) {
    // `quit` would end what is asked; the others either answer or say what is wrong with the question.
    const std::string name = command.at("name");
    if (name == "quit" || name == "qmp_capabilities") continue;
    try {
      Ask(name);
    } catch (const Error& e) {
      EXPECT_EQ(std::string(e.what()).find("has not been found"), std::string::npos) << name;
    }
  }
  for (const json& type : Ask("qom-list-types")) {
    EXPECT_TRUE(Ask("device-list-properties", {{"typename", type.at("name")}}).is_array());
  }
  EXPECT_THROW(Ask("device-list-properties", {{"typename", "e1000"}}), Error);
  // An error here ends libvirtd 9.0.
  EXPECT_EQ(Ask("qom-list-properties", {{"typename", "e1000"}}), json::array());
}

TEST_F(Probe, TheSchemaHoldsTogether) {
  const json schema = Ask("query-qmp-schema");
  std::set<std::string> names;
  for (const json& entry : schema) EXPECT_TRUE(names.insert(entry.at("name")).second) << entry;
  for (const json& entry : schema) {
    std::vector<std::string> used;
    if (entry.contains("arg-type")) used = {entry.at("arg-type"), entry.at("ret-type")};
    for (const json& member : entry.value("members", json::array())) used.push_back(member.at("type"));
    for (const json& variant : entry.value("variants", json::array())) used.push_back(variant.at("type"));
    for (const std::string& name : used) EXPECT_EQ(names.count(name), 1U) << name << " in " << entry;
  }
}

TEST(Program, RefusesWithAUsageStatusAndOneSentence) {
  FILE* out = popen((std::string(FAULTLINE_EMULATOR) + " -machine pc -display gtk 2>&1; echo status $?").c_str(), "re");
  ASSERT_NE(out, nullptr);
  char text[512] = {};
  const size_t n = fread(text, 1, sizeof text - 1, out);
  pclose(out);
  EXPECT_THAT(std::string(text, n),
              testing::AllOf(testing::HasSubstr("remove <graphics>"), testing::HasSubstr("status 2")));
}

}  // namespace
}  // namespace faultline
