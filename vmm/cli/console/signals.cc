#include "vmm/cli/console/signals.h"

#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "guestmem/error.h"

namespace faultline {

Signals::Signals(EventLoop& loop, std::initializer_list<int> signals, std::function<void(int)> callback) : loop_(loop) {
  sigemptyset(&set_);
  for (const int signal : signals) sigaddset(&set_, signal);
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  fd_ = FileDescriptor(Host::System(), signalfd(-1, &set_, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd_)
    throw Error("The host gave no descriptor for signals (" + ErrnoText(errno) + "); raise the limit on open files");
  loop_.Add(fd_.get(), EPOLLIN, [this, callback = std::move(callback)](uint32_t) {
    signalfd_siginfo info;
    while (read(fd_.get(), &info, sizeof info) == sizeof info) callback(static_cast<int>(info.ssi_signo));
  });
}

Signals::~Signals() {
  loop_.Remove(fd_.get());
  pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
}

}  // namespace faultline
