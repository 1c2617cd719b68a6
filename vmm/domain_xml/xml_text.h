// What XML can hold as text.
#pragma once

#include <string_view>

namespace faultline {

// True for UTF-8 of characters that XML has (XML 1.0 §2.2), without line breaks and tabs, which attributes change, and
// without spaces at the ends, which readers drop.
bool IsXmlText(std::string_view text) noexcept;

}  // namespace faultline
