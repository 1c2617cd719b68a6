// `faultline top`
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "guestmem/error.h"
#include "vmm/cli/console/raw_terminal.h"
#include "vmm/cli/console/signals.h"
#include "vmm/cli/console/suspend.h"
#include "vmm/cli/output.h"
#include "vmm/cli/quantity.h"
#include "vmm/cli/subcommand.h"
#include "vmm/cli/top_screen.h"
#include "vmm/control/event_loop.h"

namespace faultline {
namespace {

constexpr std::chrono::nanoseconds kUsualInterval = std::chrono::seconds(1);
constexpr std::chrono::nanoseconds kShortestInterval = std::chrono::milliseconds(100);
// For maps that nobody's terminal bounds.
constexpr ScreenSize kPaper{120, SIZE_MAX};

constexpr std::string_view kEnterScreen = "\033[?1049h\033[?25l";  // the alternate screen, no cursor
constexpr std::string_view kLeaveScreen = "\033[?25h\033[?1049l";

ScreenSize TerminalSize() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_col, size.ws_row};
}

// The terminal for as long as the picture is on it.
class LiveScreen {
 public:
  LiveScreen() : terminal_(STDIN_FILENO) {}
  ~LiveScreen() {
    if (!shown_) return;
    Send(kLeaveScreen);
    terminal_.Leave();
  }
  LiveScreen(const LiveScreen&) = delete;
  LiveScreen& operator=(const LiveScreen&) = delete;

  // False when the terminal belongs to another job.
  bool Enter() {
    if (!terminal_.Enter()) return false;
    shown_ = true;
    Send(kEnterScreen);
    return true;
  }
  void Leave() {
    Send(kLeaveScreen);
    terminal_.Leave();
    shown_ = false;
  }
  void Show(const std::vector<std::string>& lines) const {
    if (!shown_) return;
    std::string text = "\033[H";
    for (size_t i = 0; i < lines.size(); ++i) text += (i == 0 ? "" : "\r\n") + lines[i] + "\033[K";
    Print(text + "\033[J");
  }

 private:
  // What cannot be written is of no use to a terminal that is gone.
  static void Send(std::string_view text) {
    if (write(STDOUT_FILENO, text.data(), text.size()) < 0) return;
  }

  RawTerminal terminal_;
  bool shown_ = false;
};

class Top final : public Subcommand {
 public:
  void Describe(OptionList& options) override {
    options.Option("--interval", "TIME", &interval_, "From one look to the next; 1s by default");
    options.Flag("--json", &json_, "Look once and answer in JSON: sizes in bytes, times in ns");
    options.Footer(
        "PLUGGED is all the memory that the guest has, IN USE what it has touched of that, CHARGED what the host "
        "charges\n"
        "the VM's process for. Latencies are those of all faults since the VM started. Below, each VM's memory from "
        "its\n"
        "lowest address to its highest: a blank is not plugged, a dot has no pages, and a bar's height is how much of "
        "a\n"
        "stretch is at the host. q or Ctrl-C ends it. Without a terminal it looks once.\n\n"
        "Examples:\n  faultline top\n  faultline top --interval 5s\n"
        "  faultline top --json | jq '.[] | {name, charged}'");
  }

  int Run() override {
    if (interval_) every_ = ParseDuration("--interval", *interval_);
    if (every_ < kShortestInterval) {
      throw UsageError("--interval: '" + *interval_ + "' is too short; choose 100ms or more");
    }
    if (!json_ && isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 && Live()) return 0;
    return Once();
  }

 private:
  int Once() {
    std::vector<VmSample> before = SampleVms(MapCells(kPaper));
    if (!before.empty()) std::this_thread::sleep_for(every_);
    Look(MapCells(kPaper), std::move(before));
    if (json_) {
      nlohmann::json list = nlohmann::json::array();
      for (const VmSample& vm : samples_) list.push_back(ToJson(vm));
      PrintJson(list);
    } else {
      for (const std::string& line : DrawTop(samples_, kPaper)) Print(line + "\n");
    }
    return 0;
  }

  // False when the terminal is not ours to draw on.
  bool Live() {
    EventLoop loop;
    Signals signals(loop, {SIGINT, SIGTERM, SIGHUP, SIGWINCH}, [&](int signal) {
      if (signal == SIGWINCH) {
        Draw();
      } else {
        loop.Quit();
      }
    });
    LiveScreen screen;
    if (!screen.Enter()) return false;
    screen_ = &screen;
    Suspend suspend(
        loop, [&] { screen.Leave(); },
        [&] {
          screen.Enter();
          Draw();
        });
    loop.Add(STDIN_FILENO, EPOLLIN, [&](uint32_t) {
      std::array<char, 64> keys{};
      const ssize_t n = read(STDIN_FILENO, keys.data(), keys.size());
      constexpr char kCtrlC = 3;
      for (ssize_t i = 0; i < n; ++i) {
        const char key = keys[static_cast<size_t>(i)];
        if (key == 'q' || key == 'Q' || key == kCtrlC) loop.Quit();
      }
      if (n <= 0) loop.Quit();
    });
    const std::function<void()> tick = [&] {
      Look(MapCells(TerminalSize()), std::move(samples_));
      Draw();
      loop.AddTimer(every_, tick);
    };
    tick();
    loop.Run();
    loop.Remove(STDIN_FILENO);
    screen_ = nullptr;
    return true;
  }

  void Look(size_t cells, std::vector<VmSample> before) {
    samples_ = SampleVms(cells);
    AddRates(before, &samples_);
  }

  void Draw() const {
    if (screen_ != nullptr) screen_->Show(DrawTop(samples_, TerminalSize()));
  }

  std::optional<std::string> interval_;
  bool json_ = false;
  std::chrono::nanoseconds every_ = kUsualInterval;
  std::vector<VmSample> samples_;
  const LiveScreen* screen_ = nullptr;
};

}  // namespace

std::unique_ptr<Subcommand> MakeTop() { return std::make_unique<Top>(); }

}  // namespace faultline
