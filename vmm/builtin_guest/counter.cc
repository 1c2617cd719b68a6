#include "vmm/builtin_guest/counter.h"

#include "vmm/builtin_guest/console.h"
#include "vmm/builtin_guest/memory_access.h"
#include "vmm/builtin_guest/memory_map.h"
#include "vmm/builtin_guest/range.h"

namespace faultline::guest {
namespace {

constexpr unsigned kPagesPerPoll = 512;

struct Counter {
  uint64_t round = 0;
  uint64_t pages = 0;  // of the first round: all there are
  uint64_t steps = 0;
  uint64_t wrong = 0;
  uint64_t wrong_at = 0, expected = 0, found = 0;  // the first of them
  uint32_t newest = 0;                             // incarnation of what was there at the start
  bool stop = false;
};

void Enter(const Piece& piece, void* context) {
  Counter& counter = *static_cast<Counter*>(context);
  BlockAt(piece.block).busy = true;
  if (piece.incarnation > counter.newest) counter.newest = piece.incarnation;
}

void StepPage(uint64_t page, Counter& counter) {
  if (counter.round == 1) {
    ++counter.pages;
  } else if (const uint64_t found = Load(page); found != counter.round - 1) {
    if (counter.wrong++ == 0) {
      counter.wrong_at = page;
      counter.expected = counter.round - 1;
      counter.found = found;
    }
  }
  Store(page, counter.round);
  if (++counter.steps % kPagesPerPoll != 0) return;
  PollSlots();
  counter.stop = TakeKey() || ShutdownRequested();
}

void StepPiece(const Piece& piece, void* context) {
  Counter& counter = *static_cast<Counter*>(context);
  // Memory that came since the first round was not counted in then.
  if (piece.incarnation > counter.newest) return;
  for (uint64_t page = piece.start; page < piece.start + piece.size && !counter.stop; page += kPageBytes) {
    StepPage(page, counter);
  }
}

}  // namespace

void Count(Text range) {
  Counter counter;
  if (!ForEachPiece(range, Enter, &counter)) return;
  PrintLine("counting; press Enter to stop");
  uint64_t steps_before = 1;
  // All of it may be taken away by force, and something else put there.
  while (!counter.stop && counter.steps != steps_before) {
    steps_before = counter.steps;
    ++counter.round;
    if (!ForEachPiece(range, StepPiece, &counter)) break;
  }
  for (unsigned i = 0; i < BlockCount(); ++i) BlockAt(i).busy = false;
  if (counter.wrong == 0) {
    PrintLine("counted to ", counter.round, " on ", counter.pages, " pages: exact");
    return;
  }
  PrintLine("counted to ", counter.round, " on ", counter.pages, " pages: WRONG ", counter.wrong, " times, first at ",
            Hex{counter.wrong_at}, ": expected ", counter.expected, ", found ", counter.found);
}

}  // namespace faultline::guest
