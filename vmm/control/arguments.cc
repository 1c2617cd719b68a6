#include "vmm/control/arguments.h"

#include <nlohmann/json.hpp>

#include "vmm/control/qmp_error.h"

namespace faultline {
namespace {

[[noreturn]] void WrongType(const std::string& key, const char* expected) {
  throw QmpError("Invalid parameter type for '" + key + "', expected: " + expected);
}

}  // namespace

const nlohmann::json* Arguments::Find(const std::string& key) {
  asked_.insert(key);
  const auto it = object_.find(key);
  return it == object_.end() ? nullptr : &*it;
}

std::optional<std::string> Arguments::OptionalString(const std::string& key) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) WrongType(key, "string");
  return value->get<std::string>();
}

std::string Arguments::String(const std::string& key) {
  auto value = OptionalString(key);
  if (!value) throw QmpError("Parameter '" + key + "' is missing");
  return *std::move(value);
}

std::optional<uint64_t> Arguments::OptionalUnsigned(const std::string& key) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  // One with a fraction, or beyond 2^64, parses as a float.
  if (!value->is_number_integer() || (!value->is_number_unsigned() && value->get<int64_t>() < 0)) {
    WrongType(key, "uint64");
  }
  return value->get<uint64_t>();
}

uint64_t Arguments::Unsigned(const std::string& key) {
  const auto value = OptionalUnsigned(key);
  if (!value) throw QmpError("Parameter '" + key + "' is missing");
  return *value;
}

bool Arguments::Bool(const std::string& key, bool otherwise) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) WrongType(key, "boolean");
  return value->get<bool>();
}

void Arguments::Finish() const {
  for (const auto& [key, value] : object_.items()) {
    if (asked_.find(key) == asked_.end()) throw QmpError("Parameter '" + key + "' is unexpected");
  }
}

}  // namespace faultline
