#include "vmm/cli/elastic_option.h"

#include <string>

#include "guestmem/error.h"
#include "vmm/cli/key_values.h"
#include "vmm/cli/quantity.h"

namespace faultline {
namespace {

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
  const auto [size, keys] = SplitWord(text);
  VirtioMemOptions mem;
  mem.id = "vmem" + std::to_string(number);
  mem.size = ParseAlignedSize("--virtio-mem", size, kPlugGranule);
  if (!keys) return mem;
  const KeyRules rules{.option = "--virtio-mem",
                       .known = "after the size come id=ID, requested=SIZE, block=SIZE, backing=KIND",
                       .repeatable = {}};
  ForEachKey(rules, *keys, [&mem](std::string_view key, std::string_view value) {
    if (key == "id") {
      mem.id = value;
    } else if (key == "requested") {
      mem.requested = SizeOrZero("--virtio-mem requested", value);
    } else if (key == "block") {
      mem.block = ParseAlignedSize("--virtio-mem block", value, kPlugGranule);
    } else if (key == "backing") {
      mem.backing = ParseBackingSpec(value);
    } else {
      return false;
    }
    return true;
  });
  return mem;
}

BalloonOptions ParseBalloonOption(std::string_view text) {
  BalloonOptions balloon;
  if (text == "on") return balloon;
  if (text.empty()) throw UsageError("--balloon: write on, or what it should be like: size=1G,deflate-on-oom=off");
  const KeyRules rules{.option = "--balloon",
                       .known = "there is on, or size=SIZE, deflate-on-oom=on|off, reporting=on|off",
                       .repeatable = {}};
  ForEachKey(rules, text, [&balloon](std::string_view key, std::string_view value) {
    if (key == "size") {
      balloon.target = SizeOrZero("--balloon size", value);
    } else if (key == "deflate-on-oom") {
      balloon.deflate_on_oom = OnOrOff("--balloon deflate-on-oom", value);
    } else if (key == "reporting") {
      balloon.reporting = OnOrOff("--balloon reporting", value);
    } else {
      return false;
    }
    return true;
  });
  return balloon;
}

}  // namespace faultline
