// The program behind main: finds the subcommand, parses its options, runs it, turns failures into one
// sentence on standard error and an exit status.
#pragma once

#include <span>
#include <string>

namespace faultline {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;  // it was tried and did not work
inline constexpr int kExitUsage = 2;    // the request itself was wrong; nothing was tried

// `arguments` without the program's name. Never throws.
int RunCommandLine(std::span<const std::string> arguments);

}  // namespace faultline
