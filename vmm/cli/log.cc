#include "vmm/cli/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>

#include "guestmem/error.h"

namespace faultline {
namespace {

std::atomic<LogLevel> threshold{LogLevel::kWarning};

struct Name {
  std::string_view text;
  LogLevel level;
  spdlog::level::level_enum theirs;
};

constexpr std::array kNames{
    Name{"debug", LogLevel::kDebug, spdlog::level::debug}, Name{"info", LogLevel::kInfo, spdlog::level::info},
    Name{"warning", LogLevel::kWarning, spdlog::level::warn}, Name{"error", LogLevel::kError, spdlog::level::err},
    Name{"off", LogLevel::kOff, spdlog::level::off}};

spdlog::logger& Logger() {
  // Leaked, so that a thread that outlives main may still log.
  static auto& logger = *new spdlog::logger("faultline", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  static const bool set_up = [] {
    logger.set_level(spdlog::level::trace);
    logger.set_pattern("%H:%M:%S.%f %l: %v");
    return true;
  }();
  static_cast<void>(set_up);
  return logger;
}

}  // namespace

LogLevel ParseLogLevel(std::string_view text) {
  for (const Name& name : kNames) {
    if (name.text == text) return name.level;
  }
  throw UsageError("--log-level: '" + std::string(text) + "' is unknown; choose debug, info, warning, error or off");
}

void SetLogLevel(LogLevel level) { threshold.store(level, std::memory_order_relaxed); }

bool LogEnabled(LogLevel level) {
  return level >= threshold.load(std::memory_order_relaxed) && level != LogLevel::kOff;
}

void Log(LogLevel level, std::string_view message) {
  if (!LogEnabled(level)) return;
  for (const Name& name : kNames) {
    if (name.level == level) Logger().log(name.theirs, message);
  }
}

}  // namespace faultline
