// The program as a user runs it: in a terminal, or for its answer.
//
// Every test has a runtime directory of its own, so that it meets no VM of another test or of the user.
#pragma once

#include <sys/types.h>
#include <termios.h>

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/vmm/control/temp_dir.h"

namespace faultline::e2e {

using Words = std::vector<std::string>;

// How long anything may take on a loaded machine before it counts as hung.
inline constexpr std::chrono::seconds kPatience{60};

bool HasKvm();

// Sanitizers map terabytes and catch crashes themselves; the program is built as these tests are.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
inline constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool kSanitized = false;
#endif

struct Answer {
  int status = -1;  // exit status, or 128 + signal
  std::string out;
  std::string err;
};

class Workplace {
 public:
  // Kills what still runs.
  ~Workplace();

  const std::string& runtime_directory() const { return dir_.path(); }
  std::string lock_file(const std::string& vm) const { return dir_ / ("faultline/" + vm + ".lock"); }
  std::string socket_file(const std::string& vm) const { return dir_ / ("faultline/" + vm + ".sock"); }
  std::string operator/(const std::string& name) const { return dir_ / name; }

  // How long a command may take before it counts as hung: kPatience unless set.
  void SetPatience(std::chrono::seconds patience) { patience_ = patience; }
  // Runs `faultline WORDS` to its end, `input` piped in.
  Answer Run(const Words& words, const std::string& input = "") const;
  // The same as user nobody (by a root that can become nobody).
  Answer RunAsNobody(const Words& words) const;
  // The answer to `WORDS --json`, which must succeed.
  nlohmann::json Json(Words words) const;

 private:
  friend class Terminal;
  TempDir dir_;
  std::chrono::seconds patience_ = kPatience;
};

// `faultline WORDS` on a pseudo-terminal.
class Terminal {
 public:
  Terminal(const Workplace& place, const Words& words);
  // Ends the program if it still runs.
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  pid_t pid() const { return pid_; }
  // How long nothing may be printed before it counts as hung: kPatience unless set.
  void SetPatience(std::chrono::seconds patience) { patience_ = patience; }
  void Type(std::string_view text) const;
  // What was printed since the last call up to and including `end`; a test failure, and what there is, when
  // it does not come. Carriage returns are left out.
  std::string ReadUntil(std::string_view end);
  // Takes in what was printed so far, without waiting for more than a moment.
  void ReadNow();
  // Types a line at the guest's prompt and returns what comes up to the next prompt.
  std::string Command(const std::string& line);
  void Signal(int signal) const;
  // Reads to the end of the output and returns the exit status, or 128 + signal.
  int Wait();
  // What was printed and not returned by ReadUntil yet.
  const std::string& rest() const { return buffer_; }
  termios Settings() const;

 private:
  // False at the end of the output, or when nothing came in time.
  bool ReadMore(std::chrono::milliseconds patience);

  pid_t pid_ = -1;
  int fd_ = -1;
  std::string buffer_;
  std::chrono::seconds patience_ = kPatience;
  std::optional<int> status_;
};

inline constexpr std::string_view kPrompt = "faultline> ";

}  // namespace faultline::e2e
