// An element of a document that is taken apart: whoever understands an attribute or a child takes it out, and Finish
// refuses what is left, so that nothing is ignored by accident.
//
// Not thread-safe. A view into a document, which outlives it and is used up. Members throw UsageError, naming the
// element by its place: "<devices><disk>".
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <pugixml.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestmem/error.h"
#include "guestmem/types.h"

namespace faultline {

// Our namespace in <metadata>.
inline constexpr char kMetadataNamespace[] = "urn:faultline:vm";

class Element {
 public:
  Element(pugi::xml_node node, std::string place) : node_(node), place_(std::move(place)) {}

  std::optional<std::string> TakeAttribute(const char* name);
  std::string NeedAttribute(const char* name);
  // Decimal or 0x.
  std::optional<uint64_t> TakeNumber(const char* name, uint64_t most = std::numeric_limits<uint64_t>::max());
  // "yes" and "on" are true, "no" and "off" false.
  bool TakeSwitch(const char* name, bool otherwise);
  // For what asks for what is the case anyway: `allowed` passes, anything else is refused with the advice.
  void Accept(const char* attribute, std::string_view allowed, const std::string& advice);
  void Ignore(std::initializer_list<const char*> names);  // attributes and children

  // One at most.
  std::optional<Element> TakeChild(const char* name);
  std::vector<Element> TakeChildren(const char* name);
  std::string TakeText();
  // Its text, or that attribute, as a number of `unit`s ("KiB" when it says none), and no more than any VM can have:
  // sums of sizes do not wrap around.
  Bytes TakeSize();
  Bytes TakeSize(const char* attribute);
  uint64_t TakeTextNumber(uint64_t most = std::numeric_limits<uint64_t>::max());
  // What `parse` makes of a value; its UsageError gets the place put in front.
  template <class Parse>
  auto Parsed(const Parse& parse, const std::string& value) const {
    try {
      return parse(value);
    } catch (const UsageError& e) {
      Refuse(e.what());
    }
  }

  // Refuses what is left, by name.
  void Finish() const;
  [[noreturn]] void Refuse(const std::string& sentence) const;

 private:
  uint64_t ParseNumber(std::string_view text, uint64_t most) const;
  Bytes Scaled(std::string_view number);

  pugi::xml_node node_;
  std::string place_;
};

}  // namespace faultline
