#include "vmm/control/qmp_message.h"

#include <nlohmann/json.hpp>

#include "vmm/control/qmp_error.h"
#include "vmm/control/version.h"

namespace faultline {

using nlohmann::json;

std::string ToLine(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

json ParseJson(std::string_view text) {
  try {
    return json::parse(text);
  } catch (const json::parse_error& e) {
    throw QmpError("JSON parse error at byte " + std::to_string(e.byte) + ": send one JSON object per command");
  }
}

json QmpVersion() {
  return {{"qemu", {{"major", 7}, {"minor", 2}, {"micro", 0}}}, {"package", std::string("faultline ") + kVersion}};
}

json QmpGreeting() { return {{"QMP", {{"version", QmpVersion()}, {"capabilities", json::array()}}}}; }

json QmpErrorReply(std::string_view error_class, std::string_view desc) {
  return {{"error", {{"class", error_class}, {"desc", desc}}}};
}

json QmpEvent(std::string_view name, const json& data, std::chrono::system_clock::time_point when) {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(when.time_since_epoch()).count();
  json event{{"event", name}, {"timestamp", {{"seconds", us / 1000000}, {"microseconds", us % 1000000}}}};
  if (!data.is_null()) event["data"] = data;
  return event;
}

}  // namespace faultline
