// "WORD,KEY=VALUE,KEY,…": the form that options of several parts share, taken apart.
//
// Stateless. Values are views into the text given.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace faultline {

struct WordAndKeys {
  std::string_view word;                 // up to the first comma
  std::optional<std::string_view> keys;  // what follows it
};
WordAndKeys SplitWord(std::string_view text);

struct KeyRules {
  std::string option;           // begins every message: "--disk"
  std::string known;            // ends the one on a key that is not known: which there are
  std::string_view repeatable;  // the key that may be given again and again; the others once
};

// Calls `take` with each key and its value, empty without '='; `take` returns false for a key that it does not know.
// Throws UsageError for such a key, for one given twice, and when nothing follows the last comma.
void ForEachKey(const KeyRules& rules, std::string_view text,
                const std::function<bool(std::string_view key, std::string_view value)>& take);

}  // namespace faultline
