// The program's log, on standard error. Off below the level that --log-level sets; "warning" by default.
//
// Thread-safe; blocks as a write to standard error does. Nothing is set up until the first line that is
// wanted, so a quiet run pays nothing.
#pragma once

#include <cstdint>
#include <string_view>

namespace faultline {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarning, kError, kOff };

// "debug", "info", "warning", "error", "off"; UsageError on anything else.
LogLevel ParseLogLevel(std::string_view text);

void SetLogLevel(LogLevel level);
bool LogEnabled(LogLevel level);
void Log(LogLevel level, std::string_view message);

}  // namespace faultline
