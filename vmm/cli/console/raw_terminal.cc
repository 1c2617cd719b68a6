#include "vmm/cli/console/raw_terminal.h"

#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>

namespace faultline {
namespace {

// Written before `raw_fd` is set, read after it was seen set.
termios saved_settings;
std::atomic<int> raw_fd{-1};
static_assert(std::atomic<int>::is_always_lock_free);

void Restore() {
  const int fd = raw_fd.exchange(-1, std::memory_order_acq_rel);
  if (fd >= 0) tcsetattr(fd, TCSANOW, &saved_settings);
}

extern "C" void RestoreAndDie(int signal) {
  Restore();
  // The disposition is the default again (SA_RESETHAND).
  raise(signal);
}

void InstallHandlers() {
  static bool installed = false;
  if (installed) return;
  installed = true;
  std::atexit(Restore);
  // Restoring must work from the background, too.
  std::signal(SIGTTOU, SIG_IGN);
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGQUIT, SIGSYS}) {
    struct sigaction current {};
    // Somebody who has a handler of their own (a sanitizer) prints before dying; that is worth more.
    if (sigaction(signal, nullptr, &current) != 0 || current.sa_handler != SIG_DFL) continue;
    struct sigaction action {};
    action.sa_handler = RestoreAndDie;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(signal, &action, nullptr);
  }
}

}  // namespace

RawTerminal::RawTerminal(int fd) : fd_(fd) {}

RawTerminal::~RawTerminal() { Leave(); }

bool RawTerminal::Enter() {
  if (raw_fd.load(std::memory_order_relaxed) >= 0) return true;
  // A background job that changes the terminal would be stopped, or spoil it for the job in front.
  if (tcgetpgrp(fd_) != getpgrp()) return false;
  termios settings{};
  if (tcgetattr(fd_, &settings) != 0) return false;
  saved_settings = settings;
  InstallHandlers();
  cfmakeraw(&settings);
  // The program's own lines on standard error end in a plain newline.
  settings.c_oflag |= OPOST;
  raw_fd.store(fd_, std::memory_order_release);
  if (tcsetattr(fd_, TCSANOW, &settings) != 0) {
    raw_fd.store(-1, std::memory_order_relaxed);
    return false;
  }
  return true;
}

void RawTerminal::Leave() { Restore(); }

}  // namespace faultline
