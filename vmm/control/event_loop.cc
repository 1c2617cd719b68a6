#include "vmm/control/event_loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "guestmem/error.h"

namespace faultline {

EventLoop::EventLoop()
    : epoll_(Host::System(), epoll_create1(EPOLL_CLOEXEC)),
      wake_(Host::System(), eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!epoll_ || !wake_) {
    throw Error("The host gave no event descriptor (" + ErrnoText(errno) + "); raise the limit on open files");
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = wake_.get();
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) {
    throw Error("The host refused to watch an event descriptor (" + ErrnoText(errno) + ")");
  }
}

EventLoop::~EventLoop() = default;

void EventLoop::Add(int fd, uint32_t events, FdCallback callback) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    throw Error("The host refused to watch descriptor " + std::to_string(fd) + " (" + ErrnoText(errno) + ")");
  }
  auto watch = std::make_shared<Watch>();
  watch->callback = std::move(callback);
  watches_[fd] = std::move(watch);
}

void EventLoop::Modify(int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::Remove(int fd) {
  const auto it = watches_.find(fd);
  if (it == watches_.end()) return;
  it->second->removed = true;
  watches_.erase(it);
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

EventLoop::TimerId EventLoop::AddTimer(std::chrono::nanoseconds delay, std::function<void()> callback) {
  const TimerId id = next_timer_++;
  timers_.emplace(std::pair(Clock::now() + delay, id), std::move(callback));
  return id;
}

void EventLoop::CancelTimer(TimerId id) {
  const auto it = std::find_if(timers_.begin(), timers_.end(), [id](const auto& t) { return t.first.second == id; });
  if (it != timers_.end()) timers_.erase(it);
}

void EventLoop::Post(std::function<void()> work) {
  {
    MutexLock lock(mutex_);
    posted_.push_back(std::move(work));
  }
  const uint64_t one = 1;
  // A full counter means that a wake-up is pending already.
  [[maybe_unused]] const auto written = write(wake_.get(), &one, sizeof one);
}

void EventLoop::Quit() {
  {
    MutexLock lock(mutex_);
    quit_ = true;
  }
  const uint64_t one = 1;
  [[maybe_unused]] const auto written = write(wake_.get(), &one, sizeof one);
}

bool EventLoop::RunPosted() {
  std::vector<std::function<void()>> work;
  bool quit;
  {
    MutexLock lock(mutex_);
    work.swap(posted_);
    quit = quit_;
  }
  for (auto& w : work) w();
  return quit;
}

int EventLoop::MillisecondsToNextTimer() const {
  if (timers_.empty()) return -1;
  const auto left = timers_.begin()->first.first - Clock::now();
  if (left <= Clock::duration::zero()) return 0;
  // Rounded up: waking early would turn the last fraction of a millisecond into a spin.
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count());
}

void EventLoop::RunTimers() {
  const auto now = Clock::now();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    const std::function<void()> callback = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    callback();
  }
}

void EventLoop::Run() {
  std::array<epoll_event, 32> events;
  for (;;) {
    if (RunPosted()) return;
    const int n = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), MillisecondsToNextTimer());
    // The watches are fetched before any callback runs: one callback may close a descriptor whose number
    // the next one reuses, and the stale event must not reach the newcomer.
    std::array<std::shared_ptr<Watch>, 32> ready;
    for (int i = 0; i < n; ++i) {
      const auto it = watches_.find(events[i].data.fd);
      if (it != watches_.end()) ready[i] = it->second;
    }
    for (int i = 0; i < n; ++i) {
      if (events[i].data.fd == wake_.get()) {
        uint64_t count;
        [[maybe_unused]] const auto got = read(wake_.get(), &count, sizeof count);
      } else if (ready[i] && !ready[i]->removed) {
        ready[i]->callback(events[i].events);
      }
    }
    RunTimers();
  }
}

}  // namespace faultline
