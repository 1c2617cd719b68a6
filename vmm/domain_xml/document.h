// Text that anybody may have written as an XML document that is safe to take apart.
#pragma once

#include <cstddef>
#include <pugixml.hpp>
#include <string_view>

namespace faultline {

// What a domain may have: far more than any needs, and little enough to work on without a thought for time.
inline constexpr size_t kMostXmlBytes = size_t{1} << 20;
inline constexpr unsigned kMostXmlDepth = 32;

// Parses UTF-8 into `document` and returns its root, a <domain>. Nothing outside the text is read, and no entities are
// expanded but XML's own five and characters by number: a document that declares any is refused. Throws UsageError.
pugi::xml_node ParseDocument(std::string_view xml, pugi::xml_document* document);

}  // namespace faultline
