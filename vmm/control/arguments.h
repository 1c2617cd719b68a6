// The "arguments" object of one QMP command, taken apart strictly.
//
// Lives on the stack of a command handler; not thread-safe. Each accessor throws QmpError in QEMU's
// words when the argument is missing or of the wrong type. A handler calls Finish once it has asked for
// everything it knows, which refuses what is left.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>

namespace faultline {

class Arguments {
 public:
  // `object` must outlive this.
  explicit Arguments(const nlohmann::json& object) : object_(object) {}

  std::string String(const std::string& key);
  std::optional<std::string> OptionalString(const std::string& key);
  uint64_t Unsigned(const std::string& key);
  std::optional<uint64_t> OptionalUnsigned(const std::string& key);
  bool Bool(const std::string& key, bool otherwise);

  void Finish() const;

 private:
  const nlohmann::json* Find(const std::string& key);

  const nlohmann::json& object_;
  std::set<std::string> asked_;
};

}  // namespace faultline
