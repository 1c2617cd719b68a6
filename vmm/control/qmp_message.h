// The texts of QMP: the greeting, replies, errors and events, and a parser for what clients send.
//
// Free functions without state; thread-safe; nothing blocks. nlohmann-json stays in the .cc file.
// Source: QEMU docs/interop/qmp-spec.
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace faultline {

// One line, without the newline. Invalid UTF-8 is replaced, never thrown about.
std::string ToLine(const nlohmann::json& value);

// Throws QmpError with the position when `text` is not JSON.
nlohmann::json ParseJson(std::string_view text);

// {"QMP": {"version": …, "capabilities": []}}
nlohmann::json QmpGreeting();
// The reply to query-version. libvirt wants a QEMU it knows, so that is what `qemu` says; `package` is us.
nlohmann::json QmpVersion();

// An extra member of "error", true when the request itself was wrong (UsageError): the command line's exit
// status depends on it, and other clients do not mind.
inline constexpr const char* kUsageMark = "x-faultline-usage";

nlohmann::json QmpErrorReply(std::string_view error_class, std::string_view desc);

nlohmann::json QmpEvent(std::string_view name, const nlohmann::json& data, std::chrono::system_clock::time_point when);

}  // namespace faultline
