// User networking: starts the helper program (vmm/slirp) and exchanges frames with it over a socket pair.
// The helper's first message says how it went: 'O' for well, otherwise 'U' (the request is wrong) or 'E' (the
// host refused) and a sentence.
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>

#include "devices/virtio/devices.h"
#include "devices/virtio/net_backend.h"
#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr int kPatienceMs = 10000;

std::string BesideThisProgram(const std::string& name) {
  std::array<char, PATH_MAX> path;
  const ssize_t size = readlink("/proc/self/exe", path.data(), path.size());
  const std::string self(path.data(), static_cast<size_t>(std::max<ssize_t>(size, 0)));
  return self.substr(0, self.rfind('/') + 1) + name;
}

class HelperProcess {
 public:
  HelperProcess(const std::string& path, const std::vector<std::string>& arguments, int socket) {
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, socket, STDIN_FILENO);
    // A group of its own: Ctrl-C at the terminal is the VM's to handle.
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    const int error = posix_spawn(&pid_, path.c_str(), &actions, &attributes, argv.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
      pid_ = -1;
      throw Error("user networking needs its helper program '" + path + "' (" + ErrnoText(error) +
                  "): install it beside faultline, or build the target faultline-slirp");
    }
  }
  ~HelperProcess() {
    if (pid_ < 0) return;
    kill(pid_, SIGTERM);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  HelperProcess(const HelperProcess&) = delete;
  HelperProcess& operator=(const HelperProcess&) = delete;

 private:
  pid_t pid_ = -1;
};

class SlirpBackend final : public NetBackend {
 public:
  SlirpBackend(std::unique_ptr<HelperProcess> helper, FileDescriptor frames)
      : NetBackend(std::move(frames)), helper_(std::move(helper)) {}
  ~SlirpBackend() override { Close(); }

 private:
  const std::unique_ptr<HelperProcess> helper_;
};

// Waits for the helper's first message.
void WaitReady(int socket) {
  pollfd ready = {socket, POLLIN, 0};
  int count = 0;
  do {
    count = poll(&ready, 1, kPatienceMs);
  } while (count < 0 && errno == EINTR);
  std::array<char, 512> message;
  const ssize_t size = count > 0 ? recv(socket, message.data(), message.size(), 0) : 0;
  if (size <= 0)
    throw Error("the helper program of user networking does not answer: run faultline-slirp by hand to see why");
  const std::string sentence(message.data() + 1, static_cast<size_t>(size) - 1);
  if (message[0] == 'U') throw UsageError(sentence);
  if (message[0] == 'E') throw Error(sentence);
}

}  // namespace

std::unique_ptr<NetBackend> MakeSlirpBackend(const SlirpConfig& config) {
  Host& host = Host::System();
  std::array<int, 2> pair;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    throw Error("the host gives no socket for user networking (" + ErrnoText(errno) +
                "): raise the limit on open files (ulimit -n)");
  }
  FileDescriptor ours(host, pair[0]);
  FileDescriptor theirs(host, pair[1]);
  const std::string path = config.helper.empty() ? BesideThisProgram("faultline-slirp") : config.helper;
  std::vector<std::string> arguments = {path};
  if (config.restricted) arguments.emplace_back("--restrict");
  for (const std::string& forward : config.host_forwards) {
    arguments.emplace_back("--hostfwd");
    arguments.push_back(forward);
  }
  auto helper = std::make_unique<HelperProcess>(path, arguments, theirs.get());
  theirs.Reset();
  WaitReady(ours.get());
  return std::make_unique<SlirpBackend>(std::move(helper), std::move(ours));
}

}  // namespace faultline
