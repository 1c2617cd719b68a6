#include "vmm/cli/device_option.h"

#include <string>

#include "guestmem/error.h"
#include "vmm/cli/key_values.h"

namespace faultline {

BlockConfig ParseDiskOption(std::string_view text) {
  const auto [path, keys] = SplitWord(text);
  BlockConfig disk;
  disk.path = path;
  if (disk.path.empty()) throw UsageError("--disk: name a file or a block device");
  if (!keys) return disk;
  const KeyRules rules{.option = "--disk", .known = "there is readonly and serial=TEXT", .repeatable = {}};
  ForEachKey(rules, *keys, [&disk](std::string_view key, std::string_view value) {
    if (key == "readonly" && value.empty()) {
      disk.read_only = true;
    } else if (key == "serial") {
      disk.serial = value;
    } else {
      return false;
    }
    return true;
  });
  return disk;
}

NetCardConfig ParseNetOption(std::string_view text) {
  constexpr std::string_view kTap = "tap:";
  const auto [kind, keys] = SplitWord(text);
  NetCardConfig card;
  if (kind.starts_with(kTap) && kind.size() > kTap.size()) {
    card.tap = kind.substr(kTap.size());
  } else if (kind != "user") {
    throw UsageError("--net: '" + std::string(kind.substr(0, 40)) + "' is no network: choose user or tap:NAME");
  }
  if (!keys) return card;
  const KeyRules rules{.option = "--net",
                       .known = card.tap ? "there is mac=ADDRESS"
                                         : "there is hostfwd=PROTOCOL:ADDRESS:PORT-:PORT, restricted and mac=ADDRESS",
                       .repeatable = "hostfwd"};
  ForEachKey(rules, *keys, [&card](std::string_view key, std::string_view value) {
    if (key == "mac") {
      card.mac = ParseMacAddress(std::string(value));
    } else if (key == "hostfwd" && !card.tap) {
      card.user.host_forwards.emplace_back(value);
    } else if (key == "restricted" && value.empty() && !card.tap) {
      card.user.restricted = true;
    } else {
      return false;
    }
    return true;
  });
  return card;
}

}  // namespace faultline
