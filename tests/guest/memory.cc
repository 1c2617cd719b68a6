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
