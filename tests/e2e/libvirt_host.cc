#include "tests/e2e/libvirt_host.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace faultline::e2e {
namespace {

using Clock = std::chrono::steady_clock;

constexpr useconds_t kMoment = 50'000;

constexpr const char* kLibvirtd = "/usr/sbin/libvirtd";

std::vector<char*> Argv(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  return argv;
}

std::string Slurp(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

}  // namespace

std::optional<std::string> WhyNoLibvirt() {
  if (access("/dev/kvm", R_OK | W_OK) != 0) return "/dev/kvm is not there or not for this user";
  if (geteuid() != 0) return "libvirtd's VMs and a mount namespace are root's to make";
  if (access(kLibvirtd, X_OK) != 0) return "libvirt is not installed: scripts/install-deps libvirt";
  return std::nullopt;
}

Dialogue::Dialogue(const std::vector<std::string>& words) {
  const auto argv = Argv(words);
  pid_ = forkpty(&fd_, nullptr, nullptr, nullptr);
  if (pid_ == 0) {
    execvp(argv[0], argv.data());
    _exit(127);
  }
}

Dialogue::~Dialogue() {
  close(fd_);
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Dialogue::Type(std::string_view text) const {
  EXPECT_EQ(write(fd_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

bool Dialogue::ReadSome() {
  pollfd ready{fd_, POLLIN, 0};
  if (poll(&ready, 1, 1000) <= 0) return false;
  std::array<char, 4096> piece;
  const ssize_t n = read(fd_, piece.data(), piece.size());
  if (n > 0) buffer_.append(piece.data(), static_cast<size_t>(n));
  ended_ = n <= 0;
  return n > 0;
}

bool Dialogue::Shows(std::string_view text) {
  while (buffer_.find(text) == std::string::npos) {
    if (!ReadSome()) return false;
  }
  return true;
}

std::string Dialogue::ReadUntil(std::string_view end) {
  const auto deadline = Clock::now() + patience_;
  while (buffer_.find(end) == std::string::npos) {
    if (ended_ || Clock::now() > deadline) {
      ADD_FAILURE() << "'" << end << "' did not come; there is: " << buffer_;
      return buffer_;
    }
    ReadSome();
  }
  const size_t after = buffer_.find(end) + end.size();
  std::string text = buffer_.substr(0, after);
  buffer_.erase(0, after);
  return text;
}

LibvirtHost::LibvirtHost() {
  MakeNamespace();
  StartDaemon();
}

LibvirtHost::~LibvirtHost() {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(dir_ / "run/qemu", ignored)) {
    if (entry.path().extension() != ".pid") continue;
    if (const pid_t pid = EmulatorPid(entry.path().stem().string()); pid > 1) kill(pid, SIGKILL);
  }
  KillDaemon();
  for (auto covered = covered_.rbegin(); covered != covered_.rend(); ++covered) umount2(covered->c_str(), MNT_DETACH);
}

void LibvirtHost::Cover(const std::string& what, const std::string& with) {
  ASSERT_EQ(mount(with.c_str(), what.c_str(), nullptr, MS_BIND, nullptr), 0) << what << ": " << std::strerror(errno);
  covered_.push_back(what);
}

void LibvirtHost::MakeNamespace() {
  ASSERT_EQ(unshare(CLONE_NEWNS), 0) << std::strerror(errno);
  ASSERT_EQ(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0)
      << std::strerror(errno) << ": in a chroot, make its root a mount point first (mount --bind ROOT ROOT)";
  // libvirt looks these up even when it runs all VMs as root.
  File("passwd", Slurp("/etc/passwd") + "libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin\n");
  File("group", Slurp("/etc/group") + "libvirt-qemu:x:64055:\n");
  Cover("/etc/passwd", dir_ / "passwd");
  Cover("/etc/group", dir_ / "group");
  for (const auto& [covered, with] :
       std::initializer_list<std::pair<const char*, const char*>>{{"/etc/libvirt", "etc"},
                                                                  {"/var/lib/libvirt", "lib"},
                                                                  {"/var/cache/libvirt", "cache"},
                                                                  {"/var/log/libvirt", "log"},
                                                                  {"/run/libvirt", "run"}}) {
    std::filesystem::create_directories(dir_ / with);
    std::filesystem::create_directories(covered);
    Cover(covered, dir_ / with);
  }
  // Else libvirtd asks every QEMU of this machine what it can do, which takes seconds.
  File("none", "");
  for (const auto& program : std::filesystem::directory_iterator("/usr/bin")) {
    if (program.path().filename().string().starts_with("qemu-system-")) Cover(program.path(), dir_ / "none");
  }
  // A machine without systemd, AppArmor and cgroups to give away.
  File("etc/qemu.conf",
       "security_driver = \"none\"\nsecurity_default_confined = 0\nuser = \"root\"\ngroup = \"root\"\n"
       "dynamic_ownership = 0\nremember_owner = 0\nnamespaces = [ ]\ncgroup_controllers = [ ]\n"
       "stdio_handler = \"file\"\nseccomp_sandbox = 0\n");
  File("libvirtd.conf",
       "listen_tls = 0\nlisten_tcp = 0\nauth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\nunix_sock_group = \"root\"\n"
       "log_level = 3\nlog_outputs = \"3:file:" +
           dir_ / "libvirtd.log" + "\"\n");
}

void LibvirtHost::StartDaemon() {
  const std::vector<std::string> words{kLibvirtd, "-f", dir_ / "libvirtd.conf", "-p", dir_ / "libvirtd.pid"};
  const auto argv = Argv(words);
  daemon_ = fork();
  if (daemon_ == 0) {
    const int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd <= 2; ++fd) dup2(null, fd);
    execv(argv[0], argv.data());
    _exit(127);
  }
  WaitFor({"uri"}, "qemu:///system");
}

void LibvirtHost::KillDaemon() {
  if (daemon_ <= 0) return;
  kill(daemon_, SIGKILL);
  waitpid(daemon_, nullptr, 0);
  daemon_ = -1;
  // As a reboot of the daemon's machine would not, but a manager of services does.
  unlink((dir_ / "libvirtd.pid").c_str());
}

LibvirtHost::Answer LibvirtHost::Virsh(const std::vector<std::string>& words) const {
  std::vector<std::string> all{"virsh", "-q", "-c", "qemu:///system"};
  all.insert(all.end(), words.begin(), words.end());
  const auto argv = Argv(all);
  std::array<int, 2> pipe{};
  EXPECT_EQ(pipe2(pipe.data(), O_CLOEXEC), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(open("/dev/null", O_RDONLY), 0);
    dup2(pipe[1], 1);
    dup2(pipe[1], 2);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  close(pipe[1]);
  Answer answer;
  const auto deadline = Clock::now() + kVirshPatience;
  std::array<char, 4096> piece;
  for (;;) {
    pollfd ready{pipe[0], POLLIN, 0};
    if (poll(&ready, 1, 1000) > 0) {
      const ssize_t n = read(pipe[0], piece.data(), piece.size());
      if (n <= 0) break;
      answer.text.append(piece.data(), static_cast<size_t>(n));
    } else if (Clock::now() > deadline) {
      ADD_FAILURE() << "virsh hangs: " << testing::PrintToString(words);
      kill(pid, SIGKILL);
      break;
    }
  }
  close(pipe[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  answer.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return answer;
}

std::string LibvirtHost::Ask(const std::vector<std::string>& words) const {
  Answer answer = Virsh(words);
  EXPECT_EQ(answer.status, 0) << testing::PrintToString(words) << ": " << answer.text;
  return std::move(answer.text);
}

void LibvirtHost::WaitFor(const std::vector<std::string>& words, const std::string& text,
                          std::chrono::seconds patience) const {
  const auto deadline = Clock::now() + patience;
  std::string last;
  while (Clock::now() < deadline) {
    last = Virsh(words).text;
    if (last.find(text) != std::string::npos) return;
    usleep(kMoment);
  }
  FAIL() << testing::PrintToString(words) << " never printed '" << text << "', but: " << last
         << Slurp(dir_ / "libvirtd.log");
}

std::string LibvirtHost::File(const std::string& name, const std::string& text) const {
  std::string path = dir_ / name;
  std::ofstream(path) << text;
  return path;
}

pid_t LibvirtHost::EmulatorPid(const std::string& domain) const {
  pid_t pid = 0;
  std::ifstream(dir_ / ("run/qemu/" + domain + ".pid")) >> pid;
  EXPECT_GT(pid, 1) << domain;
  return pid;
}

std::string LibvirtHost::Log(const std::string& domain) const {
  return Slurp(dir_ / ("log/qemu/" + domain + ".log")) + Slurp(dir_ / "libvirtd.log");
}

}  // namespace faultline::e2e
