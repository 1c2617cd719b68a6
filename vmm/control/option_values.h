// The value of one option of QEMU's command line, taken apart: "first,key=value,flag" or a JSON object.
//
// Not thread-safe. Every key is taken out by whoever understands it, and Finish refuses what is left, so nothing is
// ignored by accident. Both forms end as keys with texts: JSON's true is "on", its nested objects are "outer.inner".
// All members throw UsageError, naming the option and the key.
// Source: QEMU qemu-doc, "Invocation".
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "guestmem/types.h"

namespace faultline {

class OptionValues {
 public:
  // `option` is what messages call it ("-device"). A first value without '=' is that of the key `implied`; when that
  // is empty, and for later ones, a bare word is a flag that is on. ",," stands for a comma.
  OptionValues(std::string option, std::string_view text, std::string_view implied);

  const std::string& option() const { return option_; }
  // The option and its most telling value, for messages: "-device virtio-blk-pci".
  void SetSubject(const std::string& subject) { option_ += " " + subject; }

  std::optional<std::string> Take(const std::string& key);
  std::string Need(const std::string& key);
  // "on", "off", "yes", "no", "true", "false".
  std::optional<bool> TakeBool(const std::string& key);
  // Decimal or 0x.
  std::optional<uint64_t> TakeNumber(const std::string& key);
  // A number with k, M, G or T behind it, in any case; `unit` when there is no letter.
  std::optional<Bytes> TakeSize(const std::string& key, Bytes unit);
  // For keys that ask for what is the case anyway: `allowed` passes, anything else is refused.
  void Accept(const std::string& key, std::string_view allowed);
  // For keys without effect here, whatever they say.
  void Ignore(const std::string& key) { values_.erase(key); }

  void Finish() const;

 private:
  void ParseWords(std::string_view text, std::string_view implied);
  void ParseObject(std::string_view text);
  void Add(std::string key, std::string value);

  std::string option_;
  std::map<std::string, std::string> values_;
};

}  // namespace faultline
