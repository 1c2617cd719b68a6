// Entropy, consoles, the power button and memory.
#include "commands.h"
#include "system.h"

namespace guest {
namespace {

constexpr int kInput = 0;

}  // namespace

bool TestEntropy() {
  uint8_t bytes[32] = {};
  const int fd = Open("/dev/hwrng", kReadOnly);
  size_t got = 0;
  while (fd >= 0 && got < sizeof(bytes)) {
    const int more = Read(fd, bytes + got, sizeof(bytes) - got);
    if (more <= 0) break;
    got += static_cast<size_t>(more);
  }
  if (fd >= 0) Close(fd);
  bool differ = false;
  for (const uint8_t byte : bytes) differ = differ || byte != bytes[0];
  if (got < sizeof(bytes) || !differ) {
    Print("rng: FAILED\n");
    return false;
  }
  Print("rng: ok ");
  PrintHex(bytes, sizeof(bytes));
  Print("\n");
  return true;
}

bool TestConsole() {
  char line[128];
  Print("console: type a line\n");
  if (!ReadLine(kInput, line, sizeof(line))) {
    Print("console: FAILED to read\n");
    return false;
  }
  Print("console: ok, read '");
  Print(line);
  Print("'\n");
  return true;
}

bool TestVirtioConsole() {
  char line[128];
  const int fd = Open("/dev/hvc0", kReadWrite);
  constexpr char kQuestion[] = "hvc: type a line\n";
  if (fd < 0 || Write(fd, kQuestion, sizeof(kQuestion) - 1) < 0 || !ReadLine(fd, line, sizeof(line))) {
    Print("hvc: FAILED\n");
    return false;
  }
  Write(fd, "hvc: read '", 11);
  Write(fd, line, Length(line));
  Write(fd, "'\n", 2);
  Close(fd);
  Print("hvc: ok, read '");
  Print(line);
  Print("'\n");
  return true;
}

bool WaitForPowerButton() {
  // struct input_event of 32-bit programs.
  struct Event {
    uint32_t seconds;
    uint32_t microseconds;
    uint16_t type;
    uint16_t code;
    int32_t value;
  };
  constexpr uint16_t kKey = 1, kPower = 116;
  // The button is the only input device.
  const int fd = Open("/dev/input/event0", kReadOnly);
  Event event;
  while (fd >= 0 && Read(fd, &event, sizeof(event)) == sizeof(event)) {
    if (event.type != kKey || event.code != kPower || event.value != 1) continue;
    Close(fd);
    return true;
  }
  if (fd >= 0) Close(fd);
  return false;
}

bool TestMemory(unsigned mebibytes) {
  const size_t size = size_t{mebibytes} << 20;
  uint8_t* memory = Allocate(size);
  const auto words = static_cast<uint32_t>(size / sizeof(uint32_t));
  constexpr uint32_t kMultiplier = 2654435761;
  const bool worked = memory != nullptr && run_native(native_fill_words, memory, words, kMultiplier, 1) == words &&
                      run_native(native_check_words, memory, words, kMultiplier, 1) == words;
  Print(worked ? "touch: ok, " : "touch: FAILED, ");
  PrintNumber(mebibytes);
  Print(" MiB\n");
  if (memory != nullptr) SystemCall(nr::kMunmap, Word(memory), static_cast<long>(size));
  return worked;
}

}  // namespace guest
