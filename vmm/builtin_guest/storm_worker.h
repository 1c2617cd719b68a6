// One vCPU's part of a storm: choose a place, write or read the own word there, judge, count.
//
// A template over how memory is reached, so that the guest's payload and a host thread run the same code.
// Freestanding, allocates nothing, uses no floating point. Owned and used by one vCPU.
//
// The state of a slot is read before and after each access; as it only grows and the host publishes each
// change before it acts (and the end of an action after it), equal reads bracket the access: it happened
// wholly within that phase. For a store this needs the fence below, lest the second read pass it.
#pragma once

#include <cstdint>

#include "vmm/builtin_guest/storm_abi.h"
#include "vmm/builtin_guest/storm_stamp.h"

namespace faultline::storm_abi {

// xorshift64*: small, fast, good enough to pick pages.
class Random {
 public:
  explicit constexpr Random(uint64_t seed) : state_(Mix(seed) | 1) {}
  constexpr uint32_t Next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<uint32_t>(state_ * 0x2545f4914f6cdd1d >> 32);
  }
  // 0 .. n-1.
  constexpr uint32_t Below(uint32_t n) { return static_cast<uint32_t>(uint64_t{Next()} * n >> 32); }
  constexpr bool OneIn(uint32_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};

// The bucket of a LatencyHistogram that counts `value`.
constexpr uint32_t LatencyBucket(uint64_t value) {
  constexpr uint64_t kLimit = (1ULL << 40) - 1;
  if (value > kLimit) value = kLimit;
  if (value < (1ULL << kLatencySubBits)) return static_cast<uint32_t>(value);
  const auto octave = static_cast<uint32_t>(63 - __builtin_clzll(value)) - kLatencySubBits;
  return ((octave + 1) << kLatencySubBits) + static_cast<uint32_t>((value >> octave) - (1ULL << kLatencySubBits));
}

// Access offers: uint64_t Load(uint64_t gpa), void Store(uint64_t gpa, uint64_t value), void Fence() (a full
// barrier), uint64_t Ticks() (a clock of any unit), void Idle() (gives the processor away for a moment).
template <class Access>
class StormWorker {
 public:
  StormWorker(Block* block, uint32_t vcpu, Access& access)
      : block_(block),
        mine_(VcpuBlockOf(block, vcpu)),
        access_(&access),
        random_(block->seed + vcpu),
        vcpu_(vcpu),
        slots_(static_cast<uint32_t>(block->slots)),
        pages_(static_cast<uint32_t>(block->pages_per_slot)),
        log_(reinterpret_cast<uint32_t*>(reinterpret_cast<char*>(block) + block->logs) +
             uint64_t{vcpu} * slots_ * pages_),
        initial_(block->initial == 0
                     ? nullptr
                     : reinterpret_cast<const uint64_t*>(reinterpret_cast<const char*>(block) + block->initial)),
        cursor_slot_(static_cast<uint32_t>(uint64_t{vcpu} * block->slots / block->vcpus)) {}

  // Until the host says stop.
  void Run() {
    for (;;) {
      const uint64_t command = Load(&block_->command);
      if (mine_->acknowledged != command) Store(&mine_->acknowledged, command);
      switch (CommandOf(command)) {
        case Command::kStop:
          return;
        case Command::kPause:
          Beat();
          access_->Idle();
          break;
        case Command::kRun:
          Step();
          break;
      }
    }
  }

  // One access, or none if every place it looked at was to be avoided.
  void Step() {
    Beat();
    AnswerMailbox();
    Place place{};
    if (!Choose(&place)) {
      access_->Idle();
      return;
    }
    if (random_.OneIn(2)) {
      Read(place);
    } else {
      Write(place);
    }
  }

 private:
  struct Place {
    uint32_t slot, page;
  };
  static constexpr uint32_t kNowhere = ~0U;
  static constexpr uint32_t kHotPages = 32;

  void Beat() { Add(&mine_->heartbeat, 1); }
  SlotState State(uint32_t slot) const { return SlotState{storm_abi::Load(&block_->states[slot])}; }
  static uint64_t Load(const uint64_t* word) { return storm_abi::Load(word); }

  // Having agreed to leave a slot, a vCPU keeps out until the request is withdrawn.
  void AnswerMailbox() {
    const uint64_t request = Load(&mine_->leave_request);
    if (request == answered_) return;
    answered_ = request;
    left_slot_ = kNowhere;
    if (request == 0) return;
    const bool refused = random_.OneIn(16);
    if (!refused) left_slot_ = LeaveSlot(request);
    Store(&mine_->leave_answer, LeaveAnswer(request, refused));
  }

  // Mostly memory that is there; sometimes, on purpose, memory that is not.
  bool Wanted(uint32_t slot) {
    if (slot == left_slot_) return false;
    return State(slot).phase() != Phase::kUnplugged || random_.OneIn(16);
  }

  bool Choose(Place* place) {
    switch (static_cast<Pattern>(block_->pattern)) {
      case Pattern::kSequential:
        return ChooseNext(place);
      case Pattern::kSameLeaf:
        if (!random_.OneIn(16)) {
          const auto focus = static_cast<uint32_t>(Load(&block_->focus_slot));
          if (Wanted(focus)) {
            *place = {focus, random_.Below(LeafPages())};
            return true;
          }
        }
        return ChooseAny(place, LeafPages());
      case Pattern::kHot:
        return ChooseAny(place, random_.OneIn(16) || pages_ < kHotPages ? pages_ : kHotPages);
      case Pattern::kRandom:
        break;
    }
    return ChooseAny(place, pages_);
  }

  uint32_t LeafPages() const { return pages_ < kPagesPerLeafTable ? pages_ : kPagesPerLeafTable; }

  bool ChooseAny(Place* place, uint32_t pages) {
    for (int tries = 0; tries < 8; ++tries) {
      const uint32_t slot = random_.Below(slots_);
      if (!Wanted(slot)) continue;
      *place = {slot, random_.Below(pages)};
      return true;
    }
    return false;
  }

  bool ChooseNext(Place* place) {
    if (++cursor_page_ >= pages_) {
      cursor_page_ = 0;
      cursor_slot_ = (cursor_slot_ + 1) % slots_;
    }
    for (uint32_t tries = 0; tries < slots_; ++tries) {
      if (Wanted(cursor_slot_)) {
        *place = {cursor_slot_, cursor_page_};
        return true;
      }
      cursor_page_ = 0;
      cursor_slot_ = (cursor_slot_ + 1) % slots_;
    }
    return false;
  }

  uint64_t PageNumber(Place place) const {
    return block_->window_gpa / kPageBytes + uint64_t{place.slot} * pages_ + place.page;
  }
  uint64_t OwnWord(Place place) const { return PageNumber(place) * kPageBytes + vcpu_ * sizeof(uint64_t); }
  uint32_t* Log(Place place) { return log_ + uint64_t{place.slot} * pages_ + place.page; }

  void Read(Place place) {
    ReadCase read{};
    read.before = State(place.slot);
    const uint64_t begun = access_->Ticks();
    const uint64_t seen = access_->Load(OwnWord(place));
    const uint64_t took = access_->Ticks() - begun;
    access_->Fence();
    read.after = State(place.slot);
    read.seed = block_->seed;
    read.own = {0, vcpu_, PageNumber(place)};
    read.initial = initial_ == nullptr ? 0 : initial_[uint64_t{place.page} * block_->vcpus + vcpu_];
    read.log = WriteLog{*Log(place)};

    uint64_t expected = 0;
    const Verdict verdict = JudgeRead(read, seen, &expected);
    Add(&mine_->reads, 1);
    CountAccess(read.before, took, &mine_->dead_reads);
    switch (verdict) {
      case Verdict::kRight:
        return;
      case Verdict::kUnjudged:
        Add(&mine_->unjudged, 1);
        return;
      case Verdict::kStaleRead:
        return Report(ViolationKind::kStaleRead, place, expected, seen, read.before);
      case Verdict::kLostWrite:
        return Report(ViolationKind::kLostWrite, place, expected, seen, read.before);
      case Verdict::kServedDead:
        return Report(ViolationKind::kServedDead, place, expected, seen, read.before);
    }
  }

  void Write(Place place) {
    const SlotState before = State(place.slot);
    auto incarnation = static_cast<uint32_t>(before.incarnation());
    if (incarnation == 0) incarnation = 1;  // nothing was ever here; any stamp will do to be dropped
    const uint64_t stamp = EncodeStamp(block_->seed, {incarnation, vcpu_, PageNumber(place)});
    const uint64_t begun = access_->Ticks();
    access_->Store(OwnWord(place), stamp);
    access_->Fence();
    const uint64_t took = access_->Ticks() - begun;
    const SlotState after = State(place.slot);
    *Log(place) = LogWrite(WriteLog{*Log(place)}, before, after).entry;
    Add(&mine_->writes, 1);
    CountAccess(before, took, &mine_->dead_writes);
  }

  void CountAccess(SlotState before, uint64_t ticks, uint64_t* dead) {
    if (before.phase() == Phase::kUnplugged) {
      Add(dead, 1);
      return;
    }
    Add(&mine_->latency[LatencyBucket(ticks)], 1);
    if (ticks > mine_->latency_max) storm_abi::Store(&mine_->latency_max, ticks);
  }

  void Report(ViolationKind kind, Place place, uint64_t expected, uint64_t seen, SlotState state) {
    uint64_t reported = 0;
    for (const uint64_t& count : mine_->violations) reported += count;
    if (reported < kViolationRecords) {
      ViolationRecord& record = mine_->records[reported];
      record.kind = static_cast<uint64_t>(kind);
      record.gpa = OwnWord(place);
      record.expected = expected;
      record.seen = seen;
      record.incarnation = state.incarnation();
    }
    // After the record, so that whoever sees the count sees the record too.
    uint64_t* count = &mine_->violations[static_cast<uint32_t>(kind)];
    storm_abi::Store(count, *count + 1);
    // One report for each wrong word is enough: take it as rewritten by somebody, and judge it again only
    // after the next own write.
    *Log(place) = static_cast<uint32_t>(state.incarnation()) | WriteLog::kDoubt;
  }
  static void Store(uint64_t* word, uint64_t value) { storm_abi::Store(word, value); }

  Block* block_;
  VcpuBlock* mine_;
  Access* access_;
  Random random_;
  uint32_t vcpu_;
  uint32_t slots_;
  uint32_t pages_;
  uint32_t* log_;
  const uint64_t* initial_;
  uint32_t cursor_slot_;
  uint32_t cursor_page_ = 0;
  uint32_t left_slot_ = kNowhere;
  uint64_t answered_ = 0;
};

}  // namespace faultline::storm_abi
