// Job control for a program that has the terminal in raw mode: cooked while stopped, raw again after.
//
// Owned by the stdio console, on the loop's thread. Ctrl-Z goes to the guest in raw mode, so what stops the
// program is a SIGTSTP from outside; a SIGCONT may also come after a SIGSTOP, which nobody sees.
#pragma once

#include <functional>

#include "vmm/cli/console/signals.h"

namespace faultline {

class Suspend {
 public:
  // `leave` runs before the program stops, `enter` after it goes on.
  Suspend(EventLoop& loop, std::function<void()> leave, std::function<void()> enter);

 private:
  Signals signals_;
};

}  // namespace faultline
