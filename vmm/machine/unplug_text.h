// Why an unplug did not happen, in sentences.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "vmm/machine/events.h"

namespace faultline {

std::string RefusedText(const std::string& id, uint32_t ost_event, uint32_t ost_status);
// `stage` is how far the guest had come.
std::string TimedOutText(const std::string& id, std::chrono::nanoseconds timeout, UnplugStage stage);
std::string WithdrawnText(const std::string& id);
std::string CancelledText(const std::string& id);

}  // namespace faultline
