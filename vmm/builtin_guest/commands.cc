#include "vmm/builtin_guest/commands.h"

#include "vmm/builtin_guest/console.h"
#include "vmm/builtin_guest/counter.h"
#include "vmm/builtin_guest/job.h"
#include "vmm/builtin_guest/memory_access.h"
#include "vmm/builtin_guest/memory_map.h"
#include "vmm/builtin_guest/payload.h"
#include "vmm/builtin_guest/range.h"

namespace faultline::guest {
namespace {

// The next word of `rest`, which is cut off it.
Text NextWord(Text& rest) {
  while (!rest.empty() && rest[0] == ' ') rest = rest.DropFirst(1);
  const Text word = rest.First(rest.Find(' '));
  rest = rest.DropFirst(word.size());
  return word;
}

void Help() {
  PrintLine("help            this list");
  PrintLine("mem             the memory there is");
  PrintLine("fill RANGE      write a pattern to it, on all vCPUs");
  PrintLine("check RANGE     verify what fill wrote");
  PrintLine("count RANGE     count in each page until Enter, checking each step");
  PrintLine("hold RANGE      refuse requests to give it up");
  PrintLine("release RANGE   undo hold");
  PrintLine("walk [RANGE]    touch every page (of all memory)");
  PrintLine("peek ADDRESS    read 8 bytes, plugged or not");
  PrintLine("poke ADDRESS N  write 8 bytes, plugged or not");
  PrintLine("halt            end the machine");
  PrintLine("RANGE: dimm0 or 0 (a slot), boot, all, or START+SIZE like 0x140000000+64M");
}

struct Work {
  Operation operation;
  JobResult result = {};
  uint64_t bytes = 0;
};
constinit Work work = {Operation::kFill};

void SetBusy(const Piece& piece, void* /*context*/) { BlockAt(piece.block).busy = true; }

void WorkOnPiece(const Piece& piece, void* /*context*/) {
  if (work.result.cancelled || work.result.vanished_at != 0) return;
  const Block& block = BlockAt(piece.block);
  if (block.state != BlockState::kOnline || block.incarnation != piece.incarnation) {
    work.result.vanished_at = piece.start;
    return;
  }
  // The seed differs for each incarnation, so that what an earlier one held is never taken for good.
  const uint64_t seed = uint64_t{block.incarnation} << 48;
  RunJob({work.operation, piece.start, piece.size, seed}, work.result);
  work.bytes += piece.size;
}

void ReportCheck() {
  const JobResult& result = work.result;
  for (uint32_t i = 0; i < result.mismatch_count; ++i) {
    const Mismatch& m = result.mismatches[i];
    PrintLine("mismatch at ", Hex{m.address}, ": expected ", Hex{m.expected}, ", found ", Hex{m.found});
  }
  const bool ok = result.zero_pages == 0 && result.wrong_pages == 0;
  PrintLine(ok ? "check ok: " : "check FAILED: ", result.good_pages, " pages good, ", result.zero_pages,
            " zero (never filled), ", result.wrong_pages, " wrong");
}

void ReportWork() {
  const JobResult& result = work.result;
  if (result.cancelled) return;
  if (result.vanished_at != 0) {
    PrintLine("error: the memory at ", Hex{result.vanished_at}, " was taken away; ", result.good_pages,
              " pages were done before");
    return;
  }
  switch (work.operation) {
    case Operation::kFill:
      PrintLine("filled ", Size{work.bytes}, ": ", result.good_pages, " pages by ", result.cpus,
                result.cpus == 1 ? " vCPU" : " vCPUs");
      break;
    case Operation::kCheck:
      ReportCheck();
      break;
    case Operation::kWalk:
      PrintLine("walked ", Size{work.bytes}, ": ", result.good_pages, " pages");
      break;
  }
}

void DoWork(Operation operation, Text range) {
  work = Work{operation};
  if (!ForEachPiece(range, SetBusy, nullptr)) return;
  ForEachPiece(range, WorkOnPiece, nullptr);
  for (unsigned i = 0; i < BlockCount(); ++i) BlockAt(i).busy = false;
  ReportWork();
}

void Hold(Text range) {
  const auto hold = [](const Piece& piece, void* /*context*/) {
    if (AddHold(piece.start, piece.size)) {
      PrintLine("held ", Span{piece.start, piece.size});
    } else {
      PrintLine("error: too many holds; release some first");
    }
  };
  ForEachPiece(range, hold, nullptr);
}

void Release(Text range) {
  unsigned released = 0;
  const auto release = [](const Piece& piece, void* context) {
    *static_cast<unsigned*>(context) += ReleaseHolds(piece.start, piece.size);
  };
  if (!ForEachPiece(range, release, &released)) return;
  PrintLine("released ", released, released == 1 ? " hold" : " holds");
}

bool IsMapped(uint64_t address) {
  const volatile MemoryRange& window = mailbox().hotplug_window;
  if (address >= window.start && address - window.start < window.size) return true;
  for (unsigned i = 0; i < kFirstSlotBlock; ++i) {
    const Block& block = BlockAt(i);
    if (block.size != 0 && address >= block.start && address < block.end()) return true;
  }
  return false;
}

// Peek and poke reach all of the hot-plug window, so that an access to memory that is not there can be tried.
bool ParseAddress(Text text, uint64_t& address) {
  if (!ParseNumber(text, address) || address % sizeof(uint64_t) != 0) {
    PrintLine("error: give an address that is a multiple of 8, like 0x140000000");
    return false;
  }
  if (!IsMapped(address)) {
    PrintLine("error: ", Hex{address}, " is neither boot memory nor in the hot-plug window");
    return false;
  }
  return true;
}

void Peek(Text where) {
  uint64_t address = 0;
  if (ParseAddress(where, address)) PrintLine(Hex{address}, ": ", Hex{Load(address)});
}

void Poke(Text where, Text what) {
  uint64_t address = 0;
  uint64_t value = 0;
  if (!ParseAddress(where, address)) return;
  if (!ParseNumber(what, value)) {
    PrintLine("error: give a number to write, like 0x1234");
    return;
  }
  Store(address, value);
  PrintLine(Hex{address}, " written");
}

}  // namespace

void ShowMemory() {
  uint64_t total = 0;
  for (unsigned i = 0; i < BlockCount(); ++i) {
    const Block& block = BlockAt(i);
    if (block.state == BlockState::kAbsent) continue;
    PutBlockName(i);
    Print(" ", Span{block.start, block.size}, block.state == BlockState::kOnline ? " online" : " ejected");
    if (IsHeld(block)) Print(", held");
    PrintLine();
    if (block.state == BlockState::kOnline) total += block.size;
  }
  PrintLine("total ", Size{total}, " and ", Size{kReservedEnd}, " for this program");
}

void RunCommand(Text line) {
  Text rest = line;
  const Text command = NextWord(rest);
  const Text first = NextWord(rest);
  const Text second = NextWord(rest);
  if (command.empty()) return;
  if (command == "help") {
    Help();
  } else if (command == "mem") {
    ShowMemory();
  } else if (command == "fill") {
    DoWork(Operation::kFill, first);
  } else if (command == "check") {
    DoWork(Operation::kCheck, first);
  } else if (command == "walk") {
    DoWork(Operation::kWalk, first.empty() ? "all" : first);
  } else if (command == "count") {
    Count(first);
  } else if (command == "hold") {
    Hold(first);
  } else if (command == "release") {
    Release(first);
  } else if (command == "peek") {
    Peek(first);
  } else if (command == "poke") {
    Poke(first, second);
  } else if (command == "halt") {
    Halt();
  } else {
    PrintLine("error: there is no command ", command, "; `help` lists them");
  }
}

void Halt() {
  PrintLine("halting");
  for (;;) {
    DebugExit(0);
    IdleWait();
  }
}

}  // namespace faultline::guest
