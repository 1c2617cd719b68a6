#include "vmm/cli/console/suspend.h"

#include <utility>

namespace faultline {

Suspend::Suspend(EventLoop& loop, std::function<void()> leave, std::function<void()> enter)
    : signals_(loop, {SIGTSTP, SIGCONT}, [leave = std::move(leave), enter = std::move(enter)](int signal) {
        leave();
        if (signal == SIGTSTP) raise(SIGSTOP);
        enter();
      }) {}

}  // namespace faultline
