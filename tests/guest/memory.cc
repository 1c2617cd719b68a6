// Memory that comes and goes: how much there is, some that is kept filled, and some that cannot be moved.
#include "commands.h"
#include "system.h"

namespace guest {
namespace {

constexpr uint32_t kMultiplier = 2246822519;
constexpr uint32_t kAddend = 3;

uint8_t* kept = nullptr;
uint32_t kept_mebibytes = 0;

uint32_t KeptWords() { return (kept_mebibytes << 20) / sizeof(uint32_t); }

bool Say(const char* name, bool worked) {
  Print(name);
  Print(worked ? ": ok, " : ": FAILED, ");
  PrintNumber(kept_mebibytes);
  Print(" MiB\n");
  return worked;
}

// Little: where the kernel is interpreted, clearing a page for a program takes milliseconds.
constexpr uint32_t kFreshBytes = 256 << 10;
constexpr int kBetweenRounds = 100;  // ms: the kernel needs the processor too

// Fresh memory is zero, and keeps what is written.
bool UseFreshMemory(uint32_t addend) {
  uint8_t* const fresh = Allocate(kFreshBytes, true);
  if (fresh == nullptr) return false;
  constexpr uint32_t kWords = kFreshBytes / sizeof(uint32_t);
  const bool right = run_native(native_fill_words, fresh, kWords, kMultiplier, addend) == kWords &&
                     run_native(native_check_words, fresh, kWords, kMultiplier, addend) == kWords;
  SystemCall(nr::kMunmap, Word(fresh), static_cast<long>(kFreshBytes));
  return right;
}

// What a pipe holds.
constexpr unsigned kPinnedPages = 16;
uint8_t pinned_content[kPinnedPages * 4096];
int pipe_ends[2] = {-1, -1};

int SetMemoryPolicy(int mode, uint32_t nodes) {
  return SystemCall(nr::kSetMempolicy, mode, nodes == 0 ? 0 : Word(&nodes), nodes == 0 ? 0 : 32);
}

}  // namespace

bool ShowMemory() {
  static char line[64];
  Print("memory: MemTotal ");
  FindLine("/proc/meminfo", "MemTotal:", line, sizeof(line));
  Print(line);
  Print(", MemFree ");
  FindLine("/proc/meminfo", "MemFree:", line, sizeof(line));
  Print(line);
  Print("\n");
  return true;
}

bool KeepMemory(unsigned mebibytes) {
  kept = Allocate(size_t{mebibytes} << 20, true);
  kept_mebibytes = mebibytes;
  return Say("keep",
             kept != nullptr && run_native(native_fill_words, kept, KeptWords(), kMultiplier, kAddend) == KeptWords());
}

bool CheckKeptMemory() {
  const bool right =
      kept != nullptr && run_native(native_check_words, kept, KeptWords(), kMultiplier, kAddend) == KeptWords();
  if (kept != nullptr) SystemCall(nr::kMunmap, Word(kept), static_cast<long>(kept_mebibytes << 20));
  kept = nullptr;
  return Say("check", right);
}

bool StormMemory(unsigned mebibytes) {
  const size_t size = size_t{mebibytes} << 20;
  const auto words = static_cast<uint32_t>(size / sizeof(uint32_t));
  uint32_t multiplier = kMultiplier;
  uint32_t addend = kAddend;
  uint8_t* const memory = Allocate(size, true);
  bool right = memory != nullptr && run_native(native_fill_words, memory, words, multiplier, addend) == words;
  Print("storm: running\n");
  uint32_t rounds = 0;
  while (right && !WaitReadable(0, kBetweenRounds)) {
    right = run_native(native_turn_words, memory, words, multiplier, addend) == words && UseFreshMemory(rounds);
    multiplier = 0 - multiplier;
    addend = ~addend;
    ++rounds;
  }
  right = right && run_native(native_check_words, memory, words, multiplier, addend) == words;
  static char line[16];
  ReadLine(0, line, sizeof(line));
  if (memory != nullptr) SystemCall(nr::kMunmap, Word(memory), static_cast<long>(size));
  Print(right ? "storm: ok, " : "storm: FAILED, ");
  PrintNumber(rounds);
  Print(" rounds\n");
  return right;
}

// Pages in a pipe belong to the kernel: nothing else can take their place.
bool PinMemory(unsigned node) {
  constexpr int kBind = 2, kDefault = 0;
  memset(pinned_content, 1, sizeof(pinned_content));
  bool worked = SystemCall(nr::kPipe, Word(pipe_ends)) == 0 && SetMemoryPolicy(kBind, 1U << node) == 0;
  worked = worked && Write(pipe_ends[1], pinned_content, sizeof(pinned_content)) == sizeof(pinned_content);
  SetMemoryPolicy(kDefault, 0);
  Print(worked ? "pin: ok, " : "pin: FAILED, ");
  PrintNumber(kPinnedPages);
  Print(" pages\n");
  return worked;
}

bool UnpinMemory() {
  memset(pinned_content, 0, sizeof(pinned_content));
  bool worked = Read(pipe_ends[0], pinned_content, sizeof(pinned_content)) == sizeof(pinned_content);
  for (const uint8_t byte : pinned_content) worked = worked && byte == 1;
  Close(pipe_ends[0]);
  Close(pipe_ends[1]);
  Print(worked ? "unpin: ok\n" : "unpin: FAILED\n");
  return worked;
}

bool SetOnlining(const char* way) {
  const int fd = Open("/sys/devices/system/memory/auto_online_blocks", kReadWrite);
  const bool worked = fd >= 0 && Write(fd, way, Length(way)) > 0;
  if (fd >= 0) Close(fd);
  Print(worked ? "online: ok\n" : "online: FAILED\n");
  return worked;
}

}  // namespace guest
