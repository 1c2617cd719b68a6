// The console anywhere else than in a terminal: pipes, a pseudo-terminal of its own, a socket.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "tests/e2e/program.h"

namespace faultline::e2e {
namespace {

using testing::HasSubstr;

class ConsoleOf : public testing::Test {
 protected:
  void SetUp() override {
    if (!HasKvm()) GTEST_SKIP() << "/dev/kvm is not there or not for this user";
  }

  static std::string ReadUntil(int fd, std::string_view end) {
    std::string text;
    while (text.find(end) == std::string::npos) {
      char piece[512];
      pollfd ready{fd, POLLIN, 0};
      if (poll(&ready, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) != 1) break;
      const ssize_t n = read(fd, piece, sizeof piece);
      if (n <= 0) break;
      text.append(piece, static_cast<size_t>(n));
    }
    EXPECT_THAT(text, HasSubstr(std::string(end)));
    return text;
  }

  int Connect(const std::string& path) const {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  }

  Workplace place_;
};

TEST_F(ConsoleOf, PipesCarriesCommandsInAndOutputOutAndNothingElse) {
  const Answer answer = place_.Run({"run", "--memory", "64M"}, "mem\nhalt\n");
  EXPECT_EQ(answer.status, 0);
  EXPECT_THAT(answer.out, HasSubstr("total 62 MiB"));
  EXPECT_EQ(answer.err, "VM 'vm1' ended: the guest halted\n");
}

TEST_F(ConsoleOf, PipesLosesNothingOfALongInput) {
  std::string input;
  for (int i = 100; i < 400; ++i) input += "poke 0x300000 " + std::to_string(i) + "\npeek 0x300000\n";
  const Answer answer = place_.Run({"run", "--memory", "64M"}, input + "halt\n");
  EXPECT_EQ(answer.status, 0);
  size_t at = 0;
  for (int i = 100; i < 400; ++i) {
    char value[32];
    std::snprintf(value, sizeof value, "0x300000: 0x%x\r\n", static_cast<unsigned>(i));
    at = answer.out.find(value, at);
    ASSERT_NE(at, std::string::npos) << value;
  }
}

TEST_F(ConsoleOf, NoStandardDescriptorsAtAllDisturbsNothing) {
  setenv("XDG_RUNTIME_DIR", place_.runtime_directory().c_str(), 1);
  const pid_t pid = fork();
  if (pid == 0) {
    for (const int fd : {0, 1, 2}) close(fd);
    execl(FAULTLINE_PROGRAM, "faultline", "run", "--name", "bare", nullptr);
    _exit(127);
  }
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (place_.Run({"info", "bare"}).status != 0 && std::chrono::steady_clock::now() < deadline) usleep(1000);
  EXPECT_EQ(place_.Json({"list"}).at(0).at("pid"), pid) << "the lock file holds the pid and nothing the guest printed";
  EXPECT_EQ(place_.Run({"shutdown", "bare"}).status, 0);
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST_F(ConsoleOf, PtyIsAPseudoTerminalThatInfoNames) {
  Terminal vm(place_, {"run", "--name", "p", "--console", "pty"});
  vm.ReadUntil("its console is pty:");
  const std::string console = place_.Json({"info", "p"}).at("console");
  ASSERT_TRUE(console.starts_with("pty:/dev/pts/")) << console;
  const int fd = open(console.substr(4).c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_THAT(ReadUntil(fd, kPrompt), HasSubstr("faultline guest"));
  ASSERT_EQ(write(fd, "mem\r", 4), 4);
  EXPECT_THAT(ReadUntil(fd, "total"), HasSubstr("online"));
  close(fd);
  EXPECT_EQ(place_.Run({"kill", "p"}).status, 0);
  EXPECT_EQ(vm.Wait(), 0);
}

TEST_F(ConsoleOf, SocketServesOneClientAtATimeAndKeepsWhatWasPrintedBefore) {
  const std::string path = place_ / "console";
  Terminal vm(place_, {"run", "--name", "s", "--console", "socket:" + path});
  vm.ReadUntil("its console is socket:");
  place_.Json({"info", "s"});
  const int first = Connect(path);
  EXPECT_THAT(ReadUntil(first, kPrompt), HasSubstr("faultline guest"));
  const int second = Connect(path);
  ReadUntil(second, "in use");
  close(second);
  ASSERT_EQ(write(first, "mem\r", 4), 4);
  ReadUntil(first, "total");
  close(first);
  // The place is free as soon as the VM has seen the first one leave.
  std::string text;
  do {
    const int third = Connect(path);
    ASSERT_EQ(write(third, "help\r", 5), 5);
    text = ReadUntil(third, "i");
    close(third);
  } while (text.find("in use") != std::string::npos);
  EXPECT_EQ(place_.Run({"kill", "s"}).status, 0);
  EXPECT_EQ(vm.Wait(), 0);
  EXPECT_NE(access(path.c_str(), F_OK), 0) << "the socket goes with the VM";
}

TEST_F(ConsoleOf, SocketTakesThePlaceOfAStaleOneAndOfNothingElse) {
  const std::string path = place_ / "console";
  {
    // A socket that nobody listens on any more.
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    close(fd);
  }
  Terminal vm(place_, {"run", "--name", "s", "--console", "socket:" + path});
  vm.ReadUntil("its console is socket:");
  const Answer busy = place_.Run({"run", "--console", "socket:" + path});
  EXPECT_EQ(busy.status, 2);
  EXPECT_THAT(busy.err, HasSubstr("listens on"));
  const std::string file = place_ / "file";
  close(open(file.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  const Answer wrong = place_.Run({"run", "--console", "socket:" + file});
  EXPECT_EQ(wrong.status, 2);
  EXPECT_EQ(access(file.c_str(), F_OK), 0) << "a file that is no socket stays";
}

}  // namespace
}  // namespace faultline::e2e
