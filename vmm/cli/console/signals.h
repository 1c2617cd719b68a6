// Signals as events of the loop instead of interruptions.
//
// Made on the main thread before any other thread starts, so that all of them inherit the blocked set; the
// callback runs on the loop's thread. The destructor unblocks them again.
#pragma once

#include <csignal>
#include <functional>
#include <initializer_list>

#include "guestmem/host.h"
#include "vmm/control/event_loop.h"

namespace faultline {

class Signals {
 public:
  Signals(EventLoop& loop, std::initializer_list<int> signals, std::function<void(int)> callback);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

 private:
  EventLoop& loop_;
  sigset_t set_;
  FileDescriptor fd_;
};

}  // namespace faultline
