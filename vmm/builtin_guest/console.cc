#include "vmm/builtin_guest/console.h"

#include "vmm/builtin_guest/payload.h"

namespace faultline::guest {
namespace {

constexpr uint16_t kData = kSerialPort;
constexpr uint16_t kLineStatus = kSerialPort + 5;
constexpr uint8_t kDataReady = 0x01;

constexpr char kBackspace = 0x08;
constexpr char kDelete = 0x7f;
constexpr char kCancelLine = 0x15;  // Ctrl-U
constexpr char kInterrupt = 0x03;   // Ctrl-C

constexpr Text kPrompt = "faultline> ";

constinit char edited_line[160] = {};
constinit size_t edited_size = 0;
constinit bool prompt_shown = false;
constinit char last_end = 0;  // the newline character that ended the last line, to take CR LF as one

void PutChar(char c) {
  // The transmitter of this machine is never full: asking the line status first would double the exits.
  if (c == '\n') Out8(kData, '\r');
  Out8(kData, static_cast<uint8_t>(c));
}

// Digits only, no unit.
void PutDecimal(uint64_t number) {
  char digits[20];
  size_t count = 0;
  do {
    digits[count++] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  while (count > 0) PutChar(digits[--count]);
}

struct Unit {
  unsigned shift;
  Text long_name;
  Text letter;
};

Unit UnitOf(uint64_t bytes) {
  if (bytes != 0 && bytes % (1ULL << 30) == 0) return {30, " GiB", "G"};
  if (bytes != 0 && bytes % (1ULL << 20) == 0) return {20, " MiB", "M"};
  if (bytes != 0 && bytes % (1ULL << 10) == 0) return {10, " KiB", "K"};
  return {0, " bytes", ""};
}

void EditCharacter(char c) {
  if (c == kBackspace || c == kDelete) {
    if (edited_size == 0) return;
    --edited_size;
    Put("\b \b");
    return;
  }
  const bool printable = c >= ' ' && c <= '~';
  if (!printable || edited_size == sizeof(edited_line)) return;
  edited_line[edited_size++] = c;
  PutChar(c);
}

}  // namespace

void Put(Text text) {
  for (const char c : text) PutChar(c);
}

void Put(uint64_t number) { PutDecimal(number); }

void Put(Hex hex) {
  Put("0x");
  unsigned shift = 60;
  while (shift > 0 && (hex.value >> shift) == 0) shift -= 4;
  for (;; shift -= 4) {
    PutChar("0123456789abcdef"[(hex.value >> shift) & 0xf]);
    if (shift == 0) return;
  }
}

void Put(Size size) {
  const Unit unit = UnitOf(size.bytes);
  PutDecimal(size.bytes >> unit.shift);
  Put(unit.long_name);
}

void Put(Span span) {
  Put(Hex{span.start});
  Put("+");
  const Unit unit = UnitOf(span.size);
  PutDecimal(span.size >> unit.shift);
  Put(unit.letter);
}

void ShowPrompt() {
  edited_size = 0;
  prompt_shown = true;
  Put(kPrompt);
}

bool PollLine(Text& line) {
  while ((In8(kLineStatus) & kDataReady) != 0) {
    const char c = static_cast<char>(In8(kData));
    const bool second_of_pair = c == '\n' && last_end == '\r';
    last_end = 0;
    if (second_of_pair) continue;
    if (c == '\r' || c == '\n') {
      last_end = c;
      PutChar('\n');
      prompt_shown = false;
      line = Text(edited_line, edited_size);
      return true;
    }
    if (c == kCancelLine || c == kInterrupt) {
      PutChar('\n');
      ShowPrompt();
      continue;
    }
    EditCharacter(c);
  }
  return false;
}

bool TakeKey() {
  if ((In8(kLineStatus) & kDataReady) == 0) return false;
  last_end = static_cast<char>(In8(kData));
  return true;
}

void BeginNotice() {
  if (prompt_shown) PutChar('\n');
}

void EndNotice() {
  if (!prompt_shown) return;
  Put(kPrompt);
  Put(Text(edited_line, edited_size));
}

}  // namespace faultline::guest
