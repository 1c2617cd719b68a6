// Numbers for people in hexadecimal: addresses, registers.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>

namespace faultline {

// "0x1f", without leading zeroes.
inline std::string Hex(uint64_t value) {
  char text[18] = {'0', 'x'};
  return {text, std::to_chars(text + 2, text + sizeof(text), value, 16).ptr};
}

}  // namespace faultline
