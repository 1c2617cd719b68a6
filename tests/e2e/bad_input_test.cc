// What a user gets wrong, and what the host does not allow: one sentence, the right status, nothing left.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/e2e/program.h"

namespace faultline::e2e {
namespace {

using testing::HasSubstr;

void ExpectOneSentence(const Answer& answer, int status, const std::string& part, const std::string& what) {
  EXPECT_EQ(answer.status, status) << what << answer.err;
  EXPECT_EQ(answer.out, "") << what;
  EXPECT_TRUE(answer.err.starts_with("faultline: ")) << what << answer.err;
  EXPECT_THAT(answer.err, HasSubstr(part)) << what;
  EXPECT_EQ(std::count(answer.err.begin(), answer.err.end(), '\n'), 1) << what << answer.err;
  EXPECT_EQ(answer.err.back(), '\n') << what;
  EXPECT_LT(answer.err.size(), 400U) << what << answer.err;
}

TEST(BadInput, IsMetByOneSentenceAndStatus2) {
  const Workplace place;
  const std::string long_word(5000, 'x');
  const struct {
    Words words;
    const char* part;
  } kBad[] = {
      {{}, "--help"},
      {{"fly"}, "fly"},
      {{""}, ""},
      {{"--fly"}, "--fly"},
      {{"run", "--fly"}, "--fly"},
      {{"run", "stray"}, "stray"},
      {{"run", "--name"}, "--name"},
      {{"run", "--name", ""}, "name"},
      {{"run", "--name", "../etc"}, "../etc"},
      {{"run", "--name", "a b"}, "a b"},
      {{"run", "--name", long_word}, "not a name"},
      {{"run", "--name", "a", "--name", "b"}, "--name"},
      {{"run", "--cpus", "0"}, "--cpus"},
      {{"run", "--cpus", "257"}, "1 to 256"},
      {{"run", "--cpus", "two"}, "two"},
      {{"run", "--cpus", "-1"}, "--cpus"},
      {{"run", "--memory", "0"}, "--memory"},
      {{"run", "--memory", "256"}, "in bytes"},
      {{"run", "--memory", "1M"}, "multiple of 2M"},
      {{"run", "--memory", "3M"}, "2M or 4M"},
      {{"run", "--memory", "1.5G"}, "1.5G"},
      {{"run", "--memory", "18446744073709551616"}, "64 bits"},
      {{"run", "--memory", "17179869184G"}, "64 bits"},
      {{"run", "--memory", "1024T"}, "more than a VM can have"},
      {{"run", "--memory", "4G,max=1G,slots=1"}, "less than boot"},
      {{"run", "--memory", "1G,max=4G"}, "slots"},
      {{"run", "--memory", "1G,slots=4"}, "max"},
      {{"run", "--memory", "1G,max=4G,slots=1000"}, "slots"},
      {{"run", "--memory", "1G,max=4G,slots="}, "slots"},
      {{"run", "--memory", "1G,colour=red"}, "colour"},
      {{"run", "--memory", "1G,backing=tape"}, "tape"},
      {{"run", "--memory", "1G,fault-around=5K"}, "5K"},
      {{"run", "--memory", ""}, "--memory"},
      {{"run", "--memory", long_word}, "not a size"},
      {{"run", "--console", "tape"}, "tape"},
      {{"run", "--console", "socket:"}, "path"},
      {{"run", "--on-unplugged-access", "panic"}, "panic"},
      {{"run", "--log-level", "loud"}, "loud"},
      {{"run", "--initrd", "x"}, "--kernel"},
      {{"run", "--append", "x"}, "--kernel"},
      {{"run", "--irqchip", "split"}, "--kernel"},
      {{"run", "--device", "debug-exit"}, "--kernel"},
      {{"run", "--on-reboot", "dance"}, "dance"},
      {{"run", "--disk", "x"}, "--kernel"},
      {{"run", "--net", "user"}, "--kernel"},
      {{"run", "--rng"}, "--kernel"},
      {{"run", "--virtio-console"}, "--kernel"},
      {{"run", "--kernel", "x", "--disk", ""}, "--disk"},
      {{"run", "--kernel", "x", "--disk", "d,colour=red"}, "colour"},
      {{"run", "--kernel", "x", "--net", "carrier-pigeon"}, "carrier-pigeon"},
      {{"run", "--kernel", "x", "--net", "tap:"}, "tap:NAME"},
      {{"run", "--kernel", "x", "--net", "tap:a,hostfwd=x"}, "hostfwd"},
      {{"run", "--kernel", "x", "--net", "user,mac=1"}, "1"},
      {{"run", "--kernel", "x", "--linux"}, "leave out"},
      {{"run", "--kernel", "x", "--irqchip", "xt"}, "xt"},
      {{"run", "--kernel", "x", "--device", "teapot"}, "teapot"},
      {{"memory"}, "memory"},
      {{"memory", "eat"}, "eat"},
      {{"memory", "plug"}, "VM"},
      {{"memory", "plug", "a"}, "SIZE"},
      {{"memory", "plug", "nobody", "2M"}, "nobody"},
      {{"info"}, "VM"},
      {{"info", "nobody"}, "no VM named 'nobody'"},
      {{"info", "a", "b"}, "b"},
      {{"pause", "nobody"}, "nobody"},
      {{"resume", "nobody"}, "nobody"},
      {{"shutdown", "nobody"}, "nobody"},
      {{"kill", "nobody"}, "nobody"},
      {{"kill", "../../x"}, "not a name"},
      {{"events", "nobody"}, "nobody"},
      {{"list", "x"}, "x"},
      {{"storm", "--engine", "steam"}, "steam"},
      {{"storm", "--vcpus", "0"}, "--vcpus"},
      {{"storm", "--regions", "x"}, "--regions"},
      {{"storm", "--region-size", "3M"}, "2M or 4M"},
      {{"storm", "--duration", "10"}, "--duration"},
      {{"storm", "--duration", "1h", "--churn", "2h"}, "churn"},
      {{"storm", "--pattern", "plaid"}, "plaid"},
      {{"storm", "--unplug", "maybe"}, "maybe"},
      {{"storm", "--source", "tape"}, "tape"},
      {{"storm", "--fault-around", "3"}, "3"},
      {{"storm", "--seed", "-1"}, "--seed"},
      {{"storm", "--json", ""}, "--json"},
  };
  for (const auto& bad : kBad) {
    ExpectOneSentence(place.Run(bad.words), 2, bad.part, testing::PrintToString(bad.words).substr(0, 200) + " ");
  }
  std::error_code error;
  EXPECT_TRUE(!std::filesystem::exists(place / "faultline") || std::filesystem::is_empty(place / "faultline", error))
      << "nothing is left of a VM that never was";
}

TEST(BadInput, HostsThatRefuseAreNamed) {
  if (!HasKvm()) GTEST_SKIP() << "/dev/kvm is not there or not for this user";
  const Workplace place;
  ExpectOneSentence(place.Run({"run", "--memory", "64M,backing=file:/no/such/dir/file"}), 1, "/no/such/dir/file", "");
  ExpectOneSentence(place.Run({"run", "--console", "socket:/no/such/dir/socket"}), 1, "/no/such/dir/socket", "");
  EXPECT_TRUE(std::filesystem::is_empty(place / "faultline"));
}

TEST(BadInput, AUserWithoutKvmIsToldWhatToDo) {
  if (getuid() != 0) GTEST_SKIP() << "needs root, to become a user who may not use /dev/kvm";
  if (!HasKvm()) GTEST_SKIP() << "/dev/kvm is not there";
  const Workplace place;
  const Answer answer = place.RunAsNobody({"run"});
  if (answer.status == 126 || answer.status == 127) GTEST_SKIP() << "user nobody cannot run the program here";
  if (answer.status == 0) GTEST_SKIP() << "/dev/kvm is open to everybody here";
  ExpectOneSentence(answer, 1, "/dev/kvm", "");
}

TEST(BadInput, ARuntimeDirectoryOpenToOthersIsNotUsed) {
  const Workplace place;
  std::filesystem::create_directory(place / "faultline");
  std::filesystem::permissions(place / "faultline", std::filesystem::perms(0777));
  ExpectOneSentence(place.Run({"list"}), 1, "chmod 700", "");
}

TEST(BadInput, AFullDiskUnderAnAnswerIsAFailure) {
  const Workplace place;
  setenv("XDG_RUNTIME_DIR", place.runtime_directory().c_str(), 1);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(open("/dev/full", O_WRONLY | O_CLOEXEC), 1);
    dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
    execl(FAULTLINE_PROGRAM, "faultline", "list", "--json", nullptr);
    _exit(127);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

TEST(Answers, AreJsonWhereJsonIsAskedFor) {
  const Workplace place;
  EXPECT_EQ(place.Json({"version"}).at("name"), "faultline");
  EXPECT_EQ(place.Json({"list"}), nlohmann::json::array());
}

TEST(Answers, AStormSaysItAllInJson) {
  const Workplace place;
  const Answer answer = place.Run({"storm", "--engine", "threads", "--vcpus", "2", "--regions", "2", "--region-size",
                                   "4M", "--duration", "300ms", "--churn", "10ms", "--seed", "7", "--json", "-"});
  EXPECT_EQ(answer.status, 0) << answer.err;
  const auto storm = nlohmann::json::parse(answer.out);
  EXPECT_EQ(storm.at("seed"), 7);
  EXPECT_EQ(storm.at("engine"), "threads");
  for (const auto& [kind, count] : storm.at("violations").items()) EXPECT_EQ(count, 0) << kind;
}

}  // namespace
}  // namespace faultline::e2e
