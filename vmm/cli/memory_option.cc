#include "vmm/cli/memory_option.h"

#include <string>

#include "vmm/cli/key_values.h"
#include "vmm/cli/quantity.h"

namespace faultline {

MemoryConfig ParseMemoryOption(std::string_view text) {
  MemoryConfig memory;
  const auto [word, keys] = SplitWord(text);
  const bool sized = word.find('=') == std::string_view::npos;
  if (sized) {
    memory.boot = ParseAlignedSize("--memory", word, kPlugGranule);
    if (!keys) return memory;
  }
  const KeyRules rules{.option = "--memory",
                       .known = "after the size come max=SIZE, slots=N, nodes=N, backing=KIND, fault-around=SIZE, auto",
                       .repeatable = {}};
  ForEachKey(rules, sized ? *keys : text, [&memory](std::string_view key, std::string_view value) {
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
      memory.automatic = value.empty() ? AutoMemoryMode::kOn : ParseAutoMemoryMode(value);
    } else {
      return false;
    }
    return true;
  });
  return memory;
}

}  // namespace faultline
