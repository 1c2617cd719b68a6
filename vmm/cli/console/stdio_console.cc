// The console on standard input and output: raw and with escape keys on a terminal, plain otherwise.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <optional>
#include <utility>

#include "guestmem/error.h"
#include "guestmem/host.h"
#include "vmm/cli/console/console.h"
#include "vmm/cli/console/escape_filter.h"
#include "vmm/cli/console/input_feed.h"
#include "vmm/cli/console/queued_writer.h"
#include "vmm/cli/console/raw_terminal.h"
#include "vmm/cli/console/suspend.h"
#include "vmm/cli/output.h"

namespace faultline {
namespace {

constexpr std::string_view kHelp =
    "\r\nCtrl-A x ends the VM · Ctrl-A h shows this · Ctrl-A Ctrl-A sends Ctrl-A to the guest\r\n";

// A way to write to standard output without blocking and without making it non-blocking for the shell
// that shares it: a descriptor of our own for the same terminal or pipe. -1 when there is none.
FileDescriptor ReopenOutput() {
  struct stat info {};
  if (fstat(STDOUT_FILENO, &info) != 0 || !(S_ISCHR(info.st_mode) || S_ISFIFO(info.st_mode))) return {};
  return {Host::System(), open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)};
}

bool IsRegularFile(int fd) {
  struct stat info {};
  return fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

class StdioConsole final : public Console {
 public:
  StdioConsole(EventLoop& loop, std::string vm_name)
      : loop_(loop),
        vm_name_(std::move(vm_name)),
        own_output_(ReopenOutput()),
        writer_(loop, QueuedWriter::WhenFull::kWait) {
    // Here and not in Start, so that every thread the machine makes inherits the blocked signals.
    if (on_terminal_ && tcgetpgrp(STDIN_FILENO) == getpgrp()) {
      suspend_.emplace(
          loop_,
          [this] {
            if (terminal_) terminal_->Leave();
          },
          [this] {
            if (terminal_) terminal_->Enter();
          });
    }
    writer_.Attach(own_output_ ? own_output_.get() : STDOUT_FILENO, !own_output_ && !IsRegularFile(STDOUT_FILENO));
  }

  ~StdioConsole() override { SetReading(false); }

  std::string description() const override { return "stdio"; }

  void Write(std::span<const std::byte> data) override {
    if (data.empty()) return;
    at_line_start_.store(data.back() == std::byte{'\n'}, std::memory_order_relaxed);
    writer_.Write(data);
  }

  void Start(Guest guest) override {
    quit_ = std::move(guest.quit);
    feed_.emplace(loop_, std::move(guest.input), [this](bool on) { SetReading(on); });
    if (on_terminal_) {
      // Reading a terminal that belongs to another job would stop this one.
      if (!suspend_) {
        PrintRemark("VM '" + vm_name_ + "' is running in the background; its console only shows output");
        return;
      }
      terminal_.emplace(STDIN_FILENO);
      terminal_->Enter();
      PrintRemark("VM '" + vm_name_ + "' is running; Ctrl-A x ends it, Ctrl-A h shows help");
    }
    SetReading(true);
  }

  void Finish() override {
    SetReading(false);
    // What the program or the shell prints next gets a line of its own.
    if (terminal_ && !at_line_start_.load(std::memory_order_relaxed)) {
      writer_.Write(std::as_bytes(std::span(std::string_view("\r\n"))));
    }
    writer_.Finish(EventLoop::Clock::now() + std::chrono::seconds(1));
    suspend_.reset();
    terminal_.reset();
  }

 private:
  void SetReading(bool on) {
    on = on && !ended_;
    if (on == reading_) return;
    reading_ = on;
    if (!on) {
      if (polled_) loop_.Remove(STDIN_FILENO);
      return;
    }
    if (polled_) {
      try {
        loop_.Add(STDIN_FILENO, EPOLLIN, [this](uint32_t) { ReadInput(); });
        return;
      } catch (const Error&) {
        // A regular file, or /dev/null: there is nothing to wait for.
        polled_ = false;
      }
    }
    loop_.Post([this] { ReadFile(); });
  }

  void ReadInput() {
    std::array<char, 4096> buffer;
    const ssize_t n = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n <= 0) {
      ended_ = true;
      SetReading(false);
      return;
    }
    const std::span typed(buffer.data(), static_cast<size_t>(n));
    if (!terminal_) {
      feed_->Feed(typed);
      return;
    }
    const EscapeFilter::Result result = escapes_.Feed(typed);
    if (!result.to_guest.empty()) feed_->Feed(result.to_guest);
    if (result.help) writer_.Write(std::as_bytes(std::span(kHelp)));
    if (result.quit) quit_();
  }

  void ReadFile() {
    if (!reading_) return;
    ReadInput();
    if (reading_) loop_.Post([this] { ReadFile(); });
  }

  EventLoop& loop_;
  const std::string vm_name_;
  const bool on_terminal_ = isatty(STDIN_FILENO) == 1;
  FileDescriptor own_output_;
  QueuedWriter writer_;
  std::atomic<bool> at_line_start_{true};
  std::function<void()> quit_;
  std::optional<InputFeed> feed_;
  EscapeFilter escapes_;
  std::optional<RawTerminal> terminal_;
  std::optional<Suspend> suspend_;
  bool reading_ = false;
  bool polled_ = true;  // standard input can be waited for
  bool ended_ = false;  // it is at its end
};

}  // namespace

std::unique_ptr<Console> MakeStdioConsole(EventLoop& loop, std::string vm_name) {
  return std::make_unique<StdioConsole>(loop, std::move(vm_name));
}

}  // namespace faultline
