// Why an unplug did not happen, in sentences.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace faultline {

std::string RefusedText(const std::string& id, uint32_t ost_event, uint32_t ost_status);
std::string TimedOutText(const std::string& id, std::chrono::nanoseconds timeout);
std::string CancelledText(const std::string& id);

}  // namespace faultline
