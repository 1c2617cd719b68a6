// The terminal's raw mode, undone on every way out of the program that the program can see.
//
// One per process: the settings to restore are global, so that exit handlers and signal handlers reach
// them. Enter, Leave and the destructor belong to one thread; what the signal handlers do is
// async-signal-safe. SIGKILL alone leaves the terminal raw.
#pragma once

namespace faultline {

class RawTerminal {
 public:
  // Nothing changes yet. `fd` is a terminal.
  explicit RawTerminal(int fd);
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

  // Input comes byte by byte, without echo, and no key makes a signal; output is processed as before. False
  // when the terminal refuses.
  bool Enter();
  void Leave();

 private:
  const int fd_;
};

}  // namespace faultline
