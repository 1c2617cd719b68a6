#include "vmm/machine/unplug_text.h"

#include <array>
#include <cstdio>

#include "devices/memory_hotplug.h"

namespace faultline {
namespace {

std::string TimeText(std::chrono::nanoseconds time) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
}

}  // namespace

std::string RefusedText(const std::string& id, uint32_t ost_event, uint32_t ost_status) {
  std::array<char, 16> code{};
  std::snprintf(code.data(), code.size(), "0x%x", ost_status);
  return "the guest refused to give up memory '" + id + "': " + ost::StatusText(ost_event, ost_status) +
         " (_OST status " + code.data() + "); free it in the guest, or unplug with --force";
}

std::string TimedOutText(const std::string& id, std::chrono::nanoseconds timeout, UnplugStage stage) {
  const std::string within = " within " + TimeText(timeout);
  const std::string stays = ", so it stays plugged; try again, or unplug with --force";
  if (stage <= UnplugStage::kAsked) {
    return "the guest did not look at the request to give up memory '" + id + "'" + within +
           " (is it running, and has it a driver for memory hot-plug?)" + stays;
  }
  return "the guest did not give up memory '" + id + "'" + within +
         (stage == UnplugStage::kEmptying ? ", though it said that it was at it" : "") + stays;
}

std::string WithdrawnText(const std::string& id) {
  return "the request to give up memory '" + id + "' was withdrawn: it stays plugged";
}

std::string CancelledText(const std::string& id) { return "the VM ended before memory '" + id + "' was unplugged"; }

}  // namespace faultline
