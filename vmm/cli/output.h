// What the program prints: answers to standard output, one sentence for each error to standard error.
//
// Thread-safe as write(2) is; blocks as that does. No iostreams: they cost start-up time.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace faultline {

// All of `text` to standard output; Error when it cannot be written (a full disk, a closed pipe).
void Print(std::string_view text);
// On one line, without a newline; broken UTF-8 in it is replaced.
std::string ToText(const nlohmann::json& value);
// Indented, with a newline.
void PrintJson(const nlohmann::json& value);
// "faultline: SENTENCE" to standard error, in one write; newlines and control characters in it are hidden.
void PrintError(std::string_view sentence);
// The same without the prefix: for remarks that are no errors.
void PrintRemark(std::string_view sentence);
// To standard error as it is, for a line that is written over and over on a terminal; one that cannot be written is
// lost.
void PrintProgress(std::string_view text);

// Rows under a heading, columns aligned to the left by their widest cell.
std::string Table(const std::vector<std::vector<std::string>>& rows);

}  // namespace faultline
