#include "vmm/cli/elastic_option.h"

#include <functional>
#include <string>

#include "guestmem/error.h"
#include "vmm/cli/quantity.h"

namespace faultline {
namespace {

// Calls `take` with each KEY and VALUE of "KEY=VALUE,KEY=VALUE"; a key without '=' has an empty value.
void ForEachPart(std::string_view text, const std::function<void(std::string_view, std::string_view)>& take) {
  for (bool more = true; more;) {
    const size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    more = comma != std::string_view::npos;
    text = more ? text.substr(comma + 1) : std::string_view();
    const size_t equals = part.find('=');
    take(part.substr(0, equals), equals == std::string_view::npos ? std::string_view() : part.substr(equals + 1));
  }
}

bool OnOrOff(const std::string& option, std::string_view value) {
  if (value == "on") return true;
  if (value == "off") return false;
  throw UsageError(option + ": '" + std::string(value.substr(0, 40)) + "' is neither on nor off");
}

// Also "0", which ParseSize refuses.
Bytes SizeOrZero(std::string_view what, std::string_view value) {
  return value == "0" ? Bytes(0) : ParseSize(what, value);
}

}  // namespace

VirtioMemOptions ParseVirtioMemOption(std::string_view text, size_t number) {
  const size_t comma = text.find(',');
  VirtioMemOptions mem;
  mem.id = "vmem" + std::to_string(number);
  mem.size = ParseAlignedSize("--virtio-mem", text.substr(0, comma), kPlugGranule);
  if (comma == std::string_view::npos) return mem;
  ForEachPart(text.substr(comma + 1), [&mem](std::string_view key, std::string_view value) {
    if (key == "id") {
      mem.id = value;
    } else if (key == "requested") {
      mem.requested = SizeOrZero("--virtio-mem requested", value);
    } else if (key == "block") {
      mem.block = ParseAlignedSize("--virtio-mem block", value, kPlugGranule);
    } else if (key == "backing") {
      mem.backing = ParseBackingSpec(value);
    } else {
      throw UsageError("--virtio-mem: '" + std::string(key.substr(0, 40)) +
                       "' is unknown; after the size come id=ID, requested=SIZE, block=SIZE, backing=KIND");
    }
  });
  return mem;
}

BalloonConfig ParseBalloonOption(std::string_view text) {
  BalloonConfig balloon;
  if (text == "on") return balloon;
  if (text.empty()) throw UsageError("--balloon: write on, or what it should be like: size=1G,deflate-on-oom=off");
  ForEachPart(text, [&balloon](std::string_view key, std::string_view value) {
    if (key == "size") {
      balloon.target = SizeOrZero("--balloon size", value);
    } else if (key == "deflate-on-oom") {
      balloon.deflate_on_oom = OnOrOff("--balloon deflate-on-oom", value);
    } else if (key == "reporting") {
      balloon.reporting = OnOrOff("--balloon reporting", value);
    } else {
      throw UsageError("--balloon: '" + std::string(key.substr(0, 40)) +
                       "' is unknown; there is on, or size=SIZE, deflate-on-oom=on|off, reporting=on|off");
    }
  });
  return balloon;
}

}  // namespace faultline
