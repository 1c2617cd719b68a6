// The guest's side of the serial console: printing, and a line editor that unsolicited notices do not
// disturb. vCPU 0 alone uses it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "vmm/builtin_guest/text.h"

namespace faultline::guest {

// How a number is to be printed.
struct Hex {
  uint64_t value;
};
// "64 MiB": the largest unit that divides it.
struct Size {
  uint64_t bytes;
};
// "0x140000000+64M": as commands take it.
struct Span {
  uint64_t start;
  uint64_t size;
};

void Put(Text text);
void Put(uint64_t number);
inline void Put(uint32_t number) { Put(uint64_t{number}); }
void Put(Hex hex);
void Put(Size size);
void Put(Span span);

template <class... Parts>
void Print(Parts... parts) {
  (Put(parts), ...);
}
template <class... Parts>
void PrintLine(Parts... parts) {
  (Put(parts), ...);
  Put(Text("\n"));
}

// Shows the prompt; the line editor is at an empty line.
void ShowPrompt();
// Takes what was typed so far. True when a line is complete: `line` is then valid until the next call, and
// the prompt is no longer showing. Does not wait.
bool PollLine(Text& line);

// Takes one character that was typed, whatever it is, away from the line editor. False when there is none.
bool TakeKey();

// Around lines that nobody asked for: leaves the line being edited, and shows it again below.
void BeginNotice();
void EndNotice();

}  // namespace faultline::guest
