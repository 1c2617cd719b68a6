#include "vmm/cli/quantity.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <limits>

#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr uint64_t kLargest = std::numeric_limits<int64_t>::max();

struct Unit {
  std::string_view suffix;
  uint64_t factor;
};

// Quotes what came from outside, cut to a length that keeps a sentence a sentence, control characters hidden.
std::string Quote(std::string_view text) {
  std::string out = "'";
  for (const char c : text.substr(0, 40)) out += (c >= ' ' && c != 127) ? c : '?';
  if (text.size() > 40) out += "…";
  return out + "'";
}

[[noreturn]] void Refuse(std::string_view what, std::string_view text, std::string_view rest) {
  throw UsageError(std::string(what) + ": " + Quote(text) + " " + std::string(rest));
}

// Splits leading digits off; nullopt-like: digits empty when there are none, overflow reported apart.
struct Number {
  uint64_t value = 0;
  std::string_view suffix;
  bool digits = false;
  bool overflow = false;
};

Number SplitNumber(std::string_view text) {
  Number n;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n.value);
  n.digits = error != std::errc::invalid_argument;
  n.overflow = error == std::errc::result_out_of_range;
  n.suffix = text.substr(static_cast<size_t>(end - text.data()));
  return n;
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// The power of 1024 that a suffix stands for, or -1.
int SizePower(std::string_view suffix) {
  if (suffix.empty()) return 0;
  constexpr std::string_view kLetters = "kmgtp";
  const auto power = kLetters.find(Lower(suffix.front()));
  suffix.remove_prefix(1);
  const bool rest = suffix.empty() || (suffix.size() == 2 && Lower(suffix[0]) == 'i' && Lower(suffix[1]) == 'b');
  return power == std::string_view::npos || !rest ? -1 : static_cast<int>(power) + 1;
}

}  // namespace

Bytes ParseSize(std::string_view what, std::string_view text) {
  const Number n = SplitNumber(text);
  const int power = n.digits ? SizePower(n.suffix) : -1;
  if (power < 0) Refuse(what, text, "is not a size; write a whole number and K, M, G or T, such as 256M");
  const unsigned shift = 10U * static_cast<unsigned>(power);
  if (n.overflow || n.value > (kLargest >> shift)) Refuse(what, text, "is more bytes than 64 bits can count");
  if (n.value == 0) Refuse(what, text, "is nothing; a size is at least 1 byte");
  return Bytes(n.value << shift);
}

Bytes ParseAlignedSize(std::string_view what, std::string_view text, Bytes unit) {
  const Bytes size = ParseSize(what, text);
  if (IsAligned(size, unit)) return size;
  const Bytes below = AlignDown(size, unit);
  std::string rest = "is not a multiple of " + SizeAsTyped(unit) + "; take ";
  if (below.value > 0) rest += SizeAsTyped(below) + " or ";
  rest += SizeAsTyped(below + unit);
  if (SplitNumber(text).suffix.empty()) rest += " (a number without a letter is in bytes)";
  Refuse(what, text, rest);
}

std::chrono::nanoseconds ParseDuration(std::string_view what, std::string_view text) {
  constexpr std::array kUnits{Unit{"ns", 1},           Unit{"us", 1000},       Unit{"ms", 1000000},
                              Unit{"s", 1000000000},   Unit{"m", 60000000000}, Unit{"min", 60000000000},
                              Unit{"h", 3600000000000}};
  const Number n = SplitNumber(text);
  const auto unit = std::ranges::find(kUnits, n.suffix, &Unit::suffix);
  if (!n.digits || unit == kUnits.end()) {
    Refuse(what, text, "is not a duration; write a whole number and us, ms, s, m or h, such as 5s");
  }
  if (n.overflow || n.value > kLargest / unit->factor) Refuse(what, text, "is longer than 292 years");
  return std::chrono::nanoseconds(static_cast<int64_t>(n.value * unit->factor));
}

uint64_t ParseCount(std::string_view what, std::string_view text, uint64_t least, uint64_t most) {
  const Number n = SplitNumber(text);
  if (!n.digits || !n.suffix.empty() || n.overflow || n.value < least || n.value > most) {
    std::string range = "is not a whole number from " + std::to_string(least);
    range += most == std::numeric_limits<uint64_t>::max() ? " up" : " to " + std::to_string(most);
    Refuse(what, text, range);
  }
  return n.value;
}

Gpa ParseAddress(std::string_view what, std::string_view text) {
  std::string_view digits = text;
  int base = 10;
  if (digits.starts_with("0x") || digits.starts_with("0X")) {
    digits.remove_prefix(2);
    base = 16;
  }
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    Refuse(what, text, "is not a guest-physical address, such as 0x100000000");
  }
  return Gpa(value);
}

std::string SizeAsTyped(Bytes size) {
  constexpr std::string_view kLetters = "KMGT";
  uint64_t value = size.value;
  int power = -1;
  while (value != 0 && value % 1024 == 0 && power < 3) {
    value /= 1024;
    ++power;
  }
  std::string text = std::to_string(value);
  if (power >= 0) text += kLetters[static_cast<size_t>(power)];
  return text;
}

std::string ReadableSize(Bytes size) {
  constexpr std::array<const char*, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(size.value);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text;
  const bool whole = value == static_cast<double>(static_cast<uint64_t>(value));
  std::snprintf(text.data(), text.size(), whole ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text.data();
}

std::string ReadableDuration(std::chrono::nanoseconds duration) {
  const auto ns = static_cast<double>(duration.count());
  std::array<char, 32> text;
  if (ns < 1e3) {
    std::snprintf(text.data(), text.size(), "%.0f ns", ns);
  } else if (ns < 1e6) {
    std::snprintf(text.data(), text.size(), "%.1f us", ns / 1e3);
  } else if (ns < 1e9) {
    std::snprintf(text.data(), text.size(), "%.1f ms", ns / 1e6);
  } else {
    std::snprintf(text.data(), text.size(), "%.1f s", ns / 1e9);
  }
  return text.data();
}

}  // namespace faultline
