#include "vmm/domain_xml/element.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace faultline {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
// Of one size; no VM has more (Validate in vmm/machine/config.h).
constexpr uint64_t kMostBytes = 1ULL << 45;

std::string Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(kSpace) - begin + 1));
}

// As much of it as fits into a sentence.
std::string Quoted(std::string_view text) {
  std::string quoted = "'";
  quoted += text.substr(0, 60);
  quoted += "'";
  return quoted;
}

// What libvirt's units of memory stand for ("scaledInteger" in its schemas); zero for none of them.
uint64_t UnitBytes(std::string_view unit) {
  static constexpr std::array<std::pair<std::string_view, uint64_t>, 13> kUnits{{{"b", 1},
                                                                                 {"bytes", 1},
                                                                                 {"KB", 1000},
                                                                                 {"k", 1ULL << 10},
                                                                                 {"KiB", 1ULL << 10},
                                                                                 {"MB", 1000'000},
                                                                                 {"M", 1ULL << 20},
                                                                                 {"MiB", 1ULL << 20},
                                                                                 {"GB", 1000'000'000},
                                                                                 {"G", 1ULL << 30},
                                                                                 {"GiB", 1ULL << 30},
                                                                                 {"T", 1ULL << 40},
                                                                                 {"TiB", 1ULL << 40}}};
  for (const auto& [name, bytes] : kUnits) {
    if (name == unit) return bytes;
  }
  return 0;
}

}  // namespace

void Element::Refuse(const std::string& sentence) const { throw UsageError(place_ + ": " + sentence); }

std::optional<std::string> Element::TakeAttribute(const char* name) {
  const pugi::xml_attribute attribute = node_.attribute(name);
  if (!attribute) return std::nullopt;
  std::string value = attribute.value();
  node_.remove_attribute(attribute);
  return value;
}

std::string Element::NeedAttribute(const char* name) {
  auto value = TakeAttribute(name);
  if (!value) Refuse("'" + std::string(name) + "' is missing");
  return *std::move(value);
}

uint64_t Element::ParseNumber(std::string_view text, uint64_t most) const {
  const bool hex = text.starts_with("0x");
  const std::string_view digits = hex ? text.substr(2) : text;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, hex ? 16 : 10);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    Refuse(Quoted(text) + " is no number");
  }
  if (value > most) Refuse(std::to_string(value) + " is too large; " + std::to_string(most) + " is the most");
  return value;
}

std::optional<uint64_t> Element::TakeNumber(const char* name, uint64_t most) {
  const auto value = TakeAttribute(name);
  if (!value) return std::nullopt;
  return ParseNumber(*value, most);
}

bool Element::TakeSwitch(const char* name, bool otherwise) {
  const auto value = TakeAttribute(name);
  if (!value) return otherwise;
  if (*value == "yes" || *value == "on") return true;
  if (*value == "no" || *value == "off") return false;
  Refuse(std::string(name) + "='" + value->substr(0, 40) + "' is neither on nor off");
}

void Element::Accept(const char* attribute, std::string_view allowed, const std::string& advice) {
  const auto value = TakeAttribute(attribute);
  if (value && *value != allowed) {
    Refuse(std::string(attribute) + "='" + value->substr(0, 40) + "' is not supported; " + advice);
  }
}

void Element::Ignore(std::initializer_list<const char*> names) {
  const auto is_named = [&](std::string_view name) { return std::ranges::find(names, name) != names.end(); };
  for (const char* name : names) node_.remove_attribute(name);
  for (pugi::xml_node child = node_.first_child(); child;) {
    const pugi::xml_node next = child.next_sibling();
    if (is_named(child.name())) node_.remove_child(child);
    child = next;
  }
}

std::vector<Element> Element::TakeChildren(const char* name) {
  // Nodes live as long as the document; moved to its end, each is reached through its view alone.
  std::vector<Element> list;
  for (pugi::xml_node child = node_.child(name); child;) {
    const pugi::xml_node next = child.next_sibling(name);
    list.emplace_back(node_.root().append_move(child), place_ + "<" + name + ">");
    child = next;
  }
  return list;
}

std::optional<Element> Element::TakeChild(const char* name) {
  std::vector<Element> list = TakeChildren(name);
  if (list.size() > 1) list[1].Refuse("there is one at most; remove the others");
  if (list.empty()) return std::nullopt;
  return std::move(list.front());
}

std::string Element::TakeText() {
  std::string text;  // comments may part it
  for (pugi::xml_node child = node_.first_child(); child;) {
    const pugi::xml_node next = child.next_sibling();
    if (child.type() == pugi::node_pcdata || child.type() == pugi::node_cdata) {
      text += child.value();
      node_.remove_child(child);
    }
    child = next;
  }
  return Trimmed(text);
}

Bytes Element::Scaled(std::string_view number) {
  const std::string unit = TakeAttribute("unit").value_or("KiB");
  const uint64_t scale = UnitBytes(unit);
  if (scale == 0) Refuse("unit='" + unit.substr(0, 20) + "' is unknown; write KiB, MiB or GiB");
  return Bytes(ParseNumber(number, kMostBytes / scale) * scale);
}

Bytes Element::TakeSize() { return Scaled(TakeText()); }

Bytes Element::TakeSize(const char* attribute) { return Scaled(NeedAttribute(attribute)); }

uint64_t Element::TakeTextNumber(uint64_t most) { return ParseNumber(TakeText(), most); }

void Element::Finish() const {
  for (const pugi::xml_attribute attribute : node_.attributes()) {
    if (std::string_view(attribute.name()).starts_with("xmlns")) continue;
    Refuse(Quoted(attribute.name()) + " is not supported; remove it");
  }
  for (const pugi::xml_node child : node_.children()) {
    if (child.type() == pugi::node_element) {
      throw UsageError(place_ + "<" + std::string(child.name()).substr(0, 60) +
                       ">: this element is not supported; remove it");
    }
    if (!Trimmed(child.value()).empty()) Refuse("text does not belong here");
  }
}

}  // namespace faultline
