// `-daemonize` and `-pidfile`: the caller gets its prompt back when the monitor can be connected to.
#pragma once

#include <string>

#include "guestmem/host.h"

namespace faultline {

class Daemon {
 public:
  // With `fork`, the caller's process waits here for Ready in its child and then exits: 0, or 1 if the child ended
  // before. Before any thread is made. Throws Error when the host refuses.
  Daemon(bool fork, std::string pid_file);
  // Removes the pid file.
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Everything is set up: writes the pid file and lets the waiting process go. Throws Error.
  void Ready();

 private:
  const std::string pid_file_;
  FileDescriptor waiting_;  // a pipe to the process that waits
  bool written_ = false;
};

}  // namespace faultline
