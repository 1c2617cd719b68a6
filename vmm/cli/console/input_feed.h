// Hands typed bytes to the guest at the pace at which it takes them.
//
// Owned by a console, on the loop's thread; never blocks. The guest's own queue is bounded: what it does
// not take stays here, the console is told to stop reading meanwhile, and the rest is offered again every
// few milliseconds. So a megabyte piped into the console costs no more memory than one read.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "vmm/control/event_loop.h"

namespace faultline {

class InputFeed {
 public:
  // `guest` returns how many of the bytes it took.
  using Guest = std::function<size_t(std::span<const std::byte>)>;

  // `read` is called with false when no more should be read, and with true when it may go on.
  InputFeed(EventLoop& loop, Guest guest, std::function<void(bool)> read);
  ~InputFeed();
  InputFeed(const InputFeed&) = delete;
  InputFeed& operator=(const InputFeed&) = delete;

  void Feed(std::span<const char> typed);
  bool waiting() const { return timer_ != 0; }

 private:
  void Offer();

  EventLoop& loop_;
  const Guest guest_;
  const std::function<void(bool)> read_;
  std::string pending_;
  EventLoop::TimerId timer_ = 0;
};

}  // namespace faultline
