// Puts a Linux command line together from what the user wrote and what the machine would like.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace faultline {

// `defaults` whose parameter (the part before '=', with '-' and '_' taken for the same, as Linux does) does not occur
// in `text`, then `text`. In front, so that text behind "--" stays init's and what the user wrote last has its say.
std::string CompleteCommandLine(std::string_view text, std::span<const std::string> defaults);

}  // namespace faultline
