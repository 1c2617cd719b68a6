#include "vmm/control/option_values.h"

#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

using nlohmann::json;

constexpr size_t kLongestShown = 60;
constexpr int kDeepest = 8;

std::string Shown(std::string_view text) { return std::string(text.substr(0, kLongestShown)); }

std::string TextOf(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "on" : "off";
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// Decimal, or hexadecimal after "0x"; nothing unless all of it is a number.
std::optional<uint64_t> ParseNumber(std::string_view text) {
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  if (hex) text.remove_prefix(2);
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, hex ? 16 : 10);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// The end of the part of "part,part" that `text` begins with, where ",," is no end.
size_t EndOfPart(std::string_view text) {
  size_t end = 0;
  for (;;) {
    end = text.find(',', end);
    if (end == std::string_view::npos) return text.size();
    if (end + 1 >= text.size() || text[end + 1] != ',') return end;
    end += 2;
  }
}

std::string WithoutDoubledCommas(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    plain += text[i];
    if (text[i] == ',') ++i;
  }
  return plain;
}

void Flatten(const json& object, const std::string& prefix, int depth,
             std::map<std::string, std::string>* into) {  // NOLINT(misc-no-recursion): kDeepest levels
  if (depth > kDeepest) throw UsageError("nests deeper than " + std::to_string(kDeepest) + " levels");
  for (const auto& [key, value] : object.items()) {
    const std::string name = prefix.empty() ? key : prefix + "." + key;
    if (value.is_structured()) {
      Flatten(value, name, depth + 1, into);
    } else {
      (*into)[name] = TextOf(value);
    }
  }
}

}  // namespace

OptionValues::OptionValues(std::string option, std::string_view text, std::string_view implied)
    : option_(std::move(option)) {
  if (text.starts_with('{')) {
    ParseObject(text);
  } else {
    ParseWords(text, implied);
  }
}

void OptionValues::ParseObject(std::string_view text) {
  json object = json::parse(text, nullptr, false);
  if (object.is_discarded()) throw UsageError(option_ + ": '" + Shown(text) + "' is not valid JSON");
  try {
    Flatten(object, "", 0, &values_);
  } catch (const UsageError& e) {
    throw UsageError(option_ + ": the JSON object " + e.what());
  }
}

void OptionValues::ParseWords(std::string_view text, std::string_view implied) {
  bool first = true;
  while (!text.empty()) {
    const size_t end = EndOfPart(text);
    const std::string_view part = text.substr(0, end);
    text = end == text.size() ? std::string_view() : text.substr(end + 1);
    const size_t equals = part.find('=');
    if (equals != std::string_view::npos) {
      Add(std::string(part.substr(0, equals)), WithoutDoubledCommas(part.substr(equals + 1)));
    } else if (first && !implied.empty()) {
      Add(std::string(implied), WithoutDoubledCommas(part));
    } else {
      Add(WithoutDoubledCommas(part), "on");
    }
    first = false;
  }
}

void OptionValues::Add(std::string key, std::string value) {
  if (key.empty()) throw UsageError(option_ + ": a value has no name: write name=value");
  const auto [it, fresh] = values_.emplace(std::move(key), std::move(value));
  if (!fresh) throw UsageError(option_ + ": '" + Shown(it->first) + "' is given twice");
}

std::optional<std::string> OptionValues::Take(const std::string& key) {
  const auto node = values_.extract(key);
  if (node.empty()) return std::nullopt;
  return std::move(node.mapped());
}

std::string OptionValues::Need(const std::string& key) {
  auto value = Take(key);
  if (!value || value->empty()) throw UsageError(option_ + ": '" + key + "' is missing");
  return *std::move(value);
}

std::optional<bool> OptionValues::TakeBool(const std::string& key) {
  const auto value = Take(key);
  if (!value) return std::nullopt;
  if (*value == "on" || *value == "yes" || *value == "true") return true;
  if (*value == "off" || *value == "no" || *value == "false") return false;
  throw UsageError(option_ + ": '" + key + "' is '" + Shown(*value) + "', and can be on or off");
}

std::optional<uint64_t> OptionValues::TakeNumber(const std::string& key) {
  const auto value = Take(key);
  if (!value) return std::nullopt;
  if (const auto number = ParseNumber(*value)) return number;
  throw UsageError(option_ + ": '" + key + "' is '" + Shown(*value) + "', which is not a number");
}

std::optional<Bytes> OptionValues::TakeSize(const std::string& key, Bytes unit) {
  auto value = Take(key);
  if (!value) return std::nullopt;
  const std::string given = *value;
  constexpr std::array kUnits{std::pair{'b', 0}, std::pair{'k', 10}, std::pair{'m', 20}, std::pair{'g', 30},
                              std::pair{'t', 40}};
  if (!value->empty()) {
    for (const auto& [letter, shift] : kUnits) {
      if ((value->back() | 0x20) != letter || value->starts_with("0x")) continue;
      unit = Bytes(1ULL << shift);
      value->pop_back();
      break;
    }
  }
  const auto number = ParseNumber(*value);
  if (!number) throw UsageError(option_ + ": '" + key + "' is '" + Shown(given) + "', which is not a size");
  if (*number > UINT64_MAX / unit.value) {
    throw UsageError(option_ + ": '" + key + "' is '" + Shown(given) + "', which is more than there can be");
  }
  return Bytes(*number * unit.value);
}

void OptionValues::Accept(const std::string& key, std::string_view allowed) {
  const auto value = Take(key);
  if (value && *value != allowed) {
    throw UsageError(option_ + ": '" + key + "=" + Shown(*value) + "' is not supported; leave it out or write '" + key +
                     "=" + std::string(allowed) + "'");
  }
}

void OptionValues::Finish() const {
  if (values_.empty()) return;
  const auto& [key, value] = *values_.begin();
  throw UsageError(option_ + ": '" + Shown(key) + "=" + Shown(value) + "' is not supported");
}

}  // namespace faultline
