// Sizes for people: "64 MiB".
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "guestmem/types.h"

namespace faultline {

// In the largest unit that divides it: "3 GiB", "4097 bytes".
inline std::string SizeText(Bytes size) {
  struct Unit {
    Bytes bytes;
    const char* name;
  };
  constexpr std::array<Unit, 4> kUnits{
      {{Bytes(1ULL << 40), " TiB"}, {1_GiB, " GiB"}, {1_MiB, " MiB"}, {1_KiB, " KiB"}}};
  for (const Unit& unit : kUnits) {
    if (size >= unit.bytes && IsAligned(size, unit.bytes)) return std::to_string(size / unit.bytes) + unit.name;
  }
  return std::to_string(size.value) + " bytes";
}

}  // namespace faultline
