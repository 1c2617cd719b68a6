#include "vmm/cli/memory_option.h"

#include <set>
#include <string>

#include "guestmem/error.h"
#include "vmm/cli/quantity.h"

namespace faultline {

MemoryConfig ParseMemoryOption(std::string_view text) {
  MemoryConfig memory;
  std::set<std::string_view> seen;
  bool first = true;
  while (first || !text.empty()) {
    const auto comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    if (comma != std::string_view::npos && comma + 1 == text.size()) {
      throw UsageError("--memory: nothing follows the last comma; write KEY=VALUE there or leave it out");
    }
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    const auto equals = part.find('=');
    if (first && equals == std::string_view::npos) {
      first = false;
      memory.boot = ParseAlignedSize("--memory", part, kPlugGranule);
      continue;
    }
    first = false;
    const std::string_view key = part.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? std::string_view() : part.substr(equals + 1);
    if (!seen.insert(key).second) throw UsageError("--memory: " + std::string(key) + " is given twice");
    if (key == "max") {
      memory.max = ParseAlignedSize("--memory max", value, kPlugGranule);
    } else if (key == "slots") {
      memory.slots = static_cast<unsigned>(ParseCount("--memory slots", value, 0, 256));
    } else if (key == "nodes") {
      memory.nodes = static_cast<unsigned>(ParseCount("--memory nodes", value, 1, 8));
    } else if (key == "backing") {
      memory.backing = ParseBackingSpec(value);
    } else if (key == "fault-around") {
      memory.fault_around = ParseFaultAround(value);
    } else if (key == "auto") {
      memory.automatic = equals == std::string_view::npos ? AutoMemoryMode::kOn : ParseAutoMemoryMode(value);
    } else {
      throw UsageError(
          "--memory: '" + std::string(part.substr(0, 40)) +
          "' is unknown; after the size come max=SIZE, slots=N, nodes=N, backing=KIND, fault-around=SIZE, auto");
    }
  }
  return memory;
}

}  // namespace faultline
