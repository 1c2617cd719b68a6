#include "vmm/cli/key_values.h"

#include <set>

#include "guestmem/error.h"

namespace faultline {

WordAndKeys SplitWord(std::string_view text) {
  const size_t comma = text.find(',');
  if (comma == std::string_view::npos) return {text, std::nullopt};
  return {text.substr(0, comma), text.substr(comma + 1)};
}

void ForEachKey(const KeyRules& rules, std::string_view text,
                const std::function<bool(std::string_view key, std::string_view value)>& take) {
  std::set<std::string_view> seen;
  for (std::optional<std::string_view> rest = text; rest;) {
    if (rest->empty()) {
      throw UsageError(rules.option + ": nothing follows the last comma; write KEY=VALUE there or leave it out");
    }
    const auto [part, next] = SplitWord(*rest);
    const size_t equals = part.find('=');
    const std::string_view key = part.substr(0, equals);
    if (!seen.insert(key).second && key != rules.repeatable) {
      throw UsageError(rules.option + ": " + std::string(key.substr(0, 40)) + " is given twice");
    }
    if (!take(key, equals == std::string_view::npos ? std::string_view() : part.substr(equals + 1))) {
      throw UsageError(rules.option + ": '" + std::string(part.substr(0, 40)) + "' is unknown; " + rules.known);
    }
    rest = next;
  }
}

}  // namespace faultline
