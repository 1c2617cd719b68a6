#include "vmm/cli/output.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "guestmem/error.h"

namespace faultline {
namespace {

// False with errno set.
bool WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

std::string OneLine(std::string_view text) {
  std::string line(text);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < ' ' || c == 127) c = ' ';
  }
  return line;
}

// Columns on a terminal: bytes that begin a UTF-8 sequence.
size_t Width(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
}

}  // namespace

void Print(std::string_view text) {
  if (!WriteAll(STDOUT_FILENO, text)) {
    throw Error("The answer cannot be written to standard output (" + ErrnoText(errno) + ")");
  }
}

std::string ToText(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void PrintJson(const nlohmann::json& value) {
  Print(value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void PrintError(std::string_view sentence) {
  std::string line = OneLine(sentence);
  // After "faultline: " a sentence goes on in lower case, but "VM" and the like stay as they are.
  const auto is_capital = [&](size_t i) { return i < line.size() && line[i] >= 'A' && line[i] <= 'Z'; };
  if (is_capital(0) && !is_capital(1)) line[0] = static_cast<char>(line[0] - 'A' + 'a');
  WriteAll(STDERR_FILENO, "faultline: " + line + "\n");
}

void PrintRemark(std::string_view sentence) { WriteAll(STDERR_FILENO, OneLine(sentence) + "\n"); }

void PrintProgress(std::string_view text) { WriteAll(STDERR_FILENO, text); }

std::string Table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      if (i + 1 < row.size()) text.append(widths[i] - Width(row[i]) + 2, ' ');
    }
    text += '\n';
  }
  return text;
}

}  // namespace faultline
