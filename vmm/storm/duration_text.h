// A duration in ns as a person reads it: "830 ns", "12.4 us", "3.05 ms".
#pragma once

#include <cstdint>
#include <string>

namespace faultline {

std::string DurationText(uint64_t ns);

}  // namespace faultline
