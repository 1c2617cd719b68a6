// Sizes, durations and counts as people write them, and back. The one place of the command line that
// reads numbers.
//
// Stateless, thread-safe. `what` names the option in the sentence of the UsageError that every parser
// throws for text it does not take.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "guestmem/types.h"

namespace faultline {

// "4096", "64K", "256M", "4G", "1T", also "256MiB" and lower case; powers of 1024. Whole, and no sign.
// Zero and a size beyond 2^63 are refused.
Bytes ParseSize(std::string_view what, std::string_view text);
// The same, and a multiple of `unit`; the sentence offers the nearest ones.
Bytes ParseAlignedSize(std::string_view what, std::string_view text, Bytes unit);

// "500us", "20ms", "5s", "2m", "1h"; a bare number is refused: of what?
std::chrono::nanoseconds ParseDuration(std::string_view what, std::string_view text);

// A decimal number in [least, most].
uint64_t ParseCount(std::string_view what, std::string_view text, uint64_t least, uint64_t most);

// A guest-physical address: "0x100000000", or decimal.
Gpa ParseAddress(std::string_view what, std::string_view text);

// "256M", "4G", "5000" — what ParseSize reads back exactly.
std::string SizeAsTyped(Bytes size);
// "256 MiB", "1.5 GiB", "12 KiB": for reading only.
std::string ReadableSize(Bytes size);
// "850 ns", "3.2 ms", "12 s"
std::string ReadableDuration(std::chrono::nanoseconds duration);

}  // namespace faultline
