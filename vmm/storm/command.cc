// `faultline storm`: a live line while it runs, then the results where they were asked for.
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>

#include "guestmem/error.h"
#include "vmm/storm/storm.h"

namespace faultline {
namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // set by a signal handler

// Ctrl-C ends the storm early but not its checks; a second one ends the process.
class InterruptScope {
 public:
  InterruptScope() {
    interrupted = false;
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = true; };
    action.sa_flags = SA_RESETHAND;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, &old_int_);
    sigaction(SIGTERM, &action, &old_term_);
  }
  ~InterruptScope() {
    sigaction(SIGINT, &old_int_, nullptr);
    sigaction(SIGTERM, &old_term_, nullptr);
  }
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

 private:
  struct sigaction old_int_ {};
  struct sigaction old_term_ {};
};

void ShowProgress(const StormProgress& p) {
  constexpr int kBarWidth = 16;
  const double elapsed = std::chrono::duration<double>(p.elapsed).count();
  const double duration = std::chrono::duration<double>(p.duration).count();
  const int filled = std::min(kBarWidth, static_cast<int>(elapsed / duration * kBarWidth));
  std::string bar(static_cast<size_t>(filled), '#');
  bar.resize(kBarWidth, '.');
  char line[160];
  std::snprintf(line, sizeof line, "[%s] %.1f/%.0f s  %.0f faults/s  %" PRIu64 " unplugs  %" PRIu64 " violations",
                bar.c_str(), elapsed, duration, p.faults_per_second, p.unplugs, p.violations);
  // A line that wraps could not be drawn over.
  winsize window{};
  const int width = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 ? window.ws_col - 1 : 79;
  std::fprintf(stderr, "\r\x1b[K%.*s", width, line);
  std::fflush(stderr);
}

// False, with a sentence on stderr, when standard output takes no more (a full disk behind it).
bool Print(const std::string& text) {
  const bool ok = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!ok) std::fprintf(stderr, "faultline: cannot write the storm's results to standard output\n");
  return ok;
}

bool WriteOrSay(const std::string& path, const std::string& content) {
  try {
    WriteFileWhole(path, content);
    return true;
  } catch (const Error& e) {
    std::fprintf(stderr, "faultline: %s\n", e.what());
    return false;
  }
}

}  // namespace

int RunStormCommand(Host& host, const StormCommand& command) {
  StormOptions options = command.options;
  const bool live = isatty(STDERR_FILENO) == 1;
  if (live) options.progress = ShowProgress;
  options.interrupted = &interrupted;

  const StormResult result = [&] {
    InterruptScope scope;
    return RunStorm(host, options);
  }();
  if (live) std::fprintf(stderr, "\r\x1b[K");

  // First what a person or a program waits for, then the files that may fail.
  bool written = Print(command.json_path == "-" ? StormJson(result) : StormSummary(result));
  if (!command.json_path.empty() && command.json_path != "-") {
    written &= WriteOrSay(command.json_path, StormJson(result));
  }
  if (!command.report_path.empty() && WriteOrSay(command.report_path, StormReportHtml(result))) {
    if (command.json_path != "-") written &= Print("report: " + command.report_path + "\n");
  } else {
    written &= command.report_path.empty();
  }
  if (!result.failure.empty()) std::fprintf(stderr, "faultline: %s\n", result.failure.c_str());

  const int status = result.Clean() && written ? EXIT_SUCCESS : EXIT_FAILURE;
  // Hung threads would keep an orderly exit waiting.
  if (result.violations.stuck_vcpus != 0) std::_Exit(status);
  return status;
}

}  // namespace faultline
