#include "vmm/qemu/daemon.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

// Until the child says that it is ready, or is gone.
[[noreturn]] void WaitAndExit(int pipe) {
  char ready = 0;
  ssize_t n;
  do {
    n = read(pipe, &ready, 1);
  } while (n < 0 && errno == EINTR);
  _exit(n == 1 ? 0 : 1);
}

// Standard output and error stay open until then: the caller reads there why it failed.
void LeaveTerminal() {
  const FileDescriptor null(Host::System(), open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int fd = 0; fd <= 2 && null; ++fd) dup2(null.get(), fd);
  [[maybe_unused]] const int moved = chdir("/");
}

}  // namespace

Daemon::Daemon(bool fork, std::string pid_file) : pid_file_(std::move(pid_file)) {
  if (!fork) return;
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw Error("-daemonize: no pipe (" + ErrnoText(errno) + ")");
  const pid_t child = ::fork();
  if (child < 0) throw Error("-daemonize: no process (" + ErrnoText(errno) + "): raise the limit (ulimit -u)");
  if (child > 0) {
    close(ends[1]);
    WaitAndExit(ends[0]);
  }
  close(ends[0]);
  waiting_ = FileDescriptor(Host::System(), ends[1]);
  setsid();
}

Daemon::~Daemon() {
  if (written_) unlink(pid_file_.c_str());
}

void Daemon::Ready() {
  if (!pid_file_.empty()) {
    const FileDescriptor file(Host::System(), open(pid_file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    const std::string pid = std::to_string(getpid()) + "\n";
    if (!file || write(file.get(), pid.data(), pid.size()) != static_cast<ssize_t>(pid.size())) {
      throw Error("-pidfile: " + pid_file_ + " cannot be written (" + ErrnoText(errno) + ")");
    }
    written_ = true;
  }
  if (!waiting_) return;
  LeaveTerminal();
  const char ready = 1;
  [[maybe_unused]] const auto told = write(waiting_.get(), &ready, 1);
  waiting_.Reset();
}

}  // namespace faultline
