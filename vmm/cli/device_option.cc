#include "vmm/cli/device_option.h"

#include <functional>
#include <string>

#include "guestmem/error.h"

namespace faultline {
namespace {

// Calls `take` with each KEY and VALUE (empty without '=') of "KEY=VALUE,KEY,…".
void ForEachKey(std::string_view text, const std::function<void(std::string_view key, std::string_view value)>& take) {
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    const size_t equals = part.find('=');
    take(part.substr(0, equals), equals == std::string_view::npos ? std::string_view() : part.substr(equals + 1));
  }
}

[[noreturn]] void RefuseKey(const std::string& option, std::string_view key, const std::string& known) {
  throw UsageError(option + ": '" + std::string(key.substr(0, 40)) + "' is unknown; there is " + known);
}

}  // namespace

BlockConfig ParseDiskOption(std::string_view text) {
  const size_t comma = text.find(',');
  BlockConfig disk;
  disk.path = text.substr(0, comma);
  if (disk.path.empty()) throw UsageError("--disk: name a file or a block device");
  if (comma == std::string_view::npos) return disk;
  ForEachKey(text.substr(comma + 1), [&disk](std::string_view key, std::string_view value) {
    if (key == "readonly" && value.empty()) {
      disk.read_only = true;
    } else if (key == "serial") {
      disk.serial = value;
    } else {
      RefuseKey("--disk", key, "readonly and serial=TEXT");
    }
  });
  return disk;
}

NetCardConfig ParseNetOption(std::string_view text) {
  constexpr std::string_view kTap = "tap:";
  const size_t comma = text.find(',');
  const std::string_view kind = text.substr(0, comma);
  NetCardConfig card;
  if (kind.starts_with(kTap) && kind.size() > kTap.size()) {
    card.tap = kind.substr(kTap.size());
  } else if (kind != "user") {
    throw UsageError("--net: '" + std::string(kind.substr(0, 40)) + "' is no network: choose user or tap:NAME");
  }
  if (comma == std::string_view::npos) return card;
  ForEachKey(text.substr(comma + 1), [&card](std::string_view key, std::string_view value) {
    if (key == "mac") {
      card.mac = ParseMacAddress(std::string(value));
    } else if (key == "hostfwd" && !card.tap) {
      card.user.host_forwards.emplace_back(value);
    } else if (key == "restricted" && value.empty() && !card.tap) {
      card.user.restricted = true;
    } else {
      RefuseKey("--net", key,
                card.tap ? "mac=ADDRESS" : "hostfwd=PROTOCOL:ADDRESS:PORT-:PORT, restricted and mac=ADDRESS");
    }
  });
  return card;
}

}  // namespace faultline
