// The control thread's loop: file descriptors, timers and closures from other threads, one at a time.
//
// Owned by whoever runs the control thread (the program's main thread). Callbacks run on the thread that
// calls Run, one after another, so what only callbacks touch needs no lock. Post and Quit are safe from
// any thread and never block on a callback; all else belongs to the loop's thread (or to any one thread
// before Run). A callback may add and remove descriptors, its own included.
#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "guestmem/host.h"
#include "guestmem/mutex.h"

namespace faultline {

class EventLoop {
 public:
  using Clock = std::chrono::steady_clock;
  // `events` is the epoll set that became ready (EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR).
  using FdCallback = std::function<void(uint32_t events)>;
  using TimerId = uint64_t;

  // Throws Error when the host gives no epoll or event descriptor.
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // `fd` stays the caller's, who calls Remove before closing it. Throws Error when epoll refuses it (a
  // regular file, for one). Level-triggered.
  void Add(int fd, uint32_t events, FdCallback callback);
  void Modify(int fd, uint32_t events);
  void Remove(int fd);

  // Runs `callback` once, `delay` from now or later.
  TimerId AddTimer(std::chrono::nanoseconds delay, std::function<void()> callback);
  void CancelTimer(TimerId id);

  // Queues `work` for the loop's thread. Work posted after Run returned is dropped with the loop.
  void Post(std::function<void()> work) EXCLUDES(mutex_);

  // Until Quit; then runs what was posted before it and returns.
  void Run();
  void Quit() EXCLUDES(mutex_);

 private:
  struct Watch {
    FdCallback callback;
    bool removed = false;
  };

  bool RunPosted() EXCLUDES(mutex_);
  int MillisecondsToNextTimer() const;
  void RunTimers();

  FileDescriptor epoll_;
  FileDescriptor wake_;
  std::unordered_map<int, std::shared_ptr<Watch>> watches_;
  std::map<std::pair<Clock::time_point, TimerId>, std::function<void()>> timers_;
  TimerId next_timer_ = 1;

  Mutex mutex_;
  std::vector<std::function<void()>> posted_ GUARDED_BY(mutex_);
  bool quit_ GUARDED_BY(mutex_) = false;
};

}  // namespace faultline
