#include "devices/virtio/io_thread.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "guestmem/error.h"

namespace faultline {

IoThread::IoThread(Host& host, const std::string& name, std::function<void(int fd)> on_ready)
    : host_(host),
      on_ready_(std::move(on_ready)),
      epoll_(host, epoll_create1(EPOLL_CLOEXEC)),
      stop_(host, host.EventFd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!epoll_ || !stop_) {
    throw Error("the host gives no event descriptors for device " + name +
                ": raise the limit on open files (ulimit -n)");
  }
  Watch(stop_.get());
  // Signals are for the main thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { Run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
}

IoThread::~IoThread() {
  const uint64_t one = 1;
  host_.Write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

void IoThread::Watch(int fd) noexcept {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = fd;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void IoThread::Unwatch(int fd) noexcept { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

void IoThread::Run() noexcept {
  std::array<epoll_event, 16> events;
  for (;;) {
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) return;
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<size_t>(i)].data.fd;
      if (fd == stop_.get()) return;
      on_ready_(fd);
    }
  }
}

}  // namespace faultline
