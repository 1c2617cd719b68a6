#include "tests/e2e/program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace faultline::e2e {
namespace {

constexpr const char* kProgram = FAULTLINE_PROGRAM;
constexpr uid_t kNobody = 65534;

std::vector<char*> Argv(const Words& words) {
  static char name[] = "faultline";
  std::vector<char*> argv{name};
  for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  return argv;
}

int StatusOf(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

// Only async-signal-safe calls follow a fork here.
[[noreturn]] void Become(char* const* argv) {
  execv(kProgram, argv);
  _exit(127);
}

Answer RunAs(const std::string& runtime_directory, const Words& words, const std::string& input, uid_t user,
             std::chrono::seconds patience) {
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  std::array<int, 2> err{};
  EXPECT_EQ(pipe2(in.data(), O_CLOEXEC), 0);
  EXPECT_EQ(pipe2(out.data(), O_CLOEXEC), 0);
  EXPECT_EQ(pipe2(err.data(), O_CLOEXEC), 0);
  setenv("XDG_RUNTIME_DIR", runtime_directory.c_str(), 1);
  const auto argv = Argv(words);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(in[0], 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    if (user != 0 && (setgid(user) != 0 || setuid(user) != 0)) _exit(126);
    Become(argv.data());
  }
  close(in[0]);
  close(out[1]);
  close(err[1]);
  std::signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(write(in[1], input.data(), input.size()), static_cast<ssize_t>(input.size()));
  close(in[1]);
  Answer answer;
  std::array<pollfd, 2> fds{pollfd{out[0], POLLIN, 0}, pollfd{err[0], POLLIN, 0}};
  std::array<std::string*, 2> texts{&answer.out, &answer.err};
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while ((fds[0].fd >= 0 || fds[1].fd >= 0) && std::chrono::steady_clock::now() < deadline) {
    poll(fds.data(), fds.size(), 1000);
    for (size_t i = 0; i < fds.size(); ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      std::array<char, 4096> piece;
      const ssize_t n = read(fds[i].fd, piece.data(), piece.size());
      if (n > 0) texts[i]->append(piece.data(), static_cast<size_t>(n));
      if (n == 0) fds[i].fd = -1;
    }
  }
  if (fds[0].fd >= 0 || fds[1].fd >= 0) {
    ADD_FAILURE() << "the program hangs: " << testing::PrintToString(words);
    kill(pid, SIGKILL);
  }
  close(out[0]);
  close(err[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  answer.status = StatusOf(status);
  return answer;
}

}  // namespace

bool HasKvm() { return access("/dev/kvm", R_OK | W_OK) == 0; }

Workplace::~Workplace() {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(dir_ / "faultline", ignored)) {
    if (entry.path().extension() != ".lock") continue;
    Run({"kill", entry.path().stem().string()});
  }
}

Answer Workplace::Run(const Words& words, const std::string& input) const {
  return RunAs(dir_.path(), words, input, 0, patience_);
}

Answer Workplace::RunAsNobody(const Words& words) const {
  const std::string theirs = dir_ / "nobody";
  std::filesystem::create_directory(theirs);
  EXPECT_EQ(chown(theirs.c_str(), kNobody, kNobody), 0);
  std::filesystem::permissions(dir_.path(), std::filesystem::perms(0755));
  return RunAs(theirs, words, "", kNobody, patience_);
}

nlohmann::json Workplace::Json(Words words) const {
  words.emplace_back("--json");
  const Answer answer = Run(words);
  EXPECT_EQ(answer.status, 0) << answer.err;
  return nlohmann::json::parse(answer.out, nullptr, false);
}

Terminal::Terminal(const Workplace& place, const Words& words) {
  setenv("XDG_RUNTIME_DIR", place.runtime_directory().c_str(), 1);
  const auto argv = Argv(words);
  winsize size{24, 120, 0, 0};
  pid_ = forkpty(&fd_, nullptr, nullptr, &size);
  if (pid_ == 0) Become(argv.data());
  EXPECT_GT(pid_, 0);
}

Terminal::~Terminal() {
  if (!status_) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(fd_);
}

void Terminal::Type(std::string_view text) const {
  EXPECT_EQ(write(fd_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

bool Terminal::ReadMore(std::chrono::milliseconds patience) {
  pollfd fd{fd_, POLLIN, 0};
  if (poll(&fd, 1, static_cast<int>(patience.count())) != 1) return false;
  std::array<char, 4096> piece;
  const ssize_t n = read(fd_, piece.data(), piece.size());
  // EIO: the program is gone, and with it the other side of the terminal.
  if (n <= 0) return false;
  for (ssize_t i = 0; i < n; ++i) {
    if (piece[i] != '\r') buffer_ += piece[i];
  }
  return true;
}

std::string Terminal::ReadUntil(std::string_view end) {
  size_t at;
  while ((at = buffer_.find(end)) == std::string::npos) {
    if (!ReadMore(patience_)) {
      ADD_FAILURE() << "'" << end << "' never came; there is:\n" << buffer_;
      return buffer_;
    }
  }
  std::string text = buffer_.substr(0, at + end.size());
  buffer_.erase(0, at + end.size());
  return text;
}

void Terminal::ReadNow() {
  while (ReadMore(std::chrono::milliseconds(50))) {
  }
}

std::string Terminal::Command(const std::string& line) {
  Type(line + "\r");
  ReadUntil(line);
  return ReadUntil(kPrompt);
}

void Terminal::Signal(int signal) const { kill(pid_, signal); }

int Terminal::Wait() {
  while (ReadMore(patience_)) {
  }
  int status = 0;
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (waitpid(pid_, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      ADD_FAILURE() << "the program does not end; there is:\n" << buffer_;
      return -1;
    }
    usleep(1000);
  }
  status_ = StatusOf(status);
  return *status_;
}

termios Terminal::Settings() const {
  termios settings{};
  EXPECT_EQ(tcgetattr(fd_, &settings), 0);
  return settings;
}

}  // namespace faultline::e2e
