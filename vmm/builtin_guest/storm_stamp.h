// Stamps and their judgement: what a vCPU writes, what it must read, and what a wrong value means.
//
// Freestanding and free of side effects; the one place where the storm's rules are written down.
#pragma once

#include <cstdint>

#include "vmm/builtin_guest/storm_abi.h"

namespace faultline::storm_abi {

// What an access to memory that is not there reads.
inline constexpr uint64_t kOnes = ~uint64_t{0};

inline constexpr uint32_t kMaxIncarnation = (1U << 24) - 2;
inline constexpr uint64_t kMaxStampPage = (1ULL << 31) - 1;  // guest-physical page number: up to 8 TiB
static_assert(kMaxVcpus <= 512);

// A mixed 64-bit number from `x` (Sebastiano Vigna's splitmix64 finaliser, public domain).
constexpr uint64_t Mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

// Who wrote where, when. Encoded: the incarnation in the upper 24 bits, and page and vCPU in the lower 40,
// scrambled by seed and incarnation. As incarnations run from 1 to 2^24 - 2, no stamp is 0 or all-ones.
struct Stamp {
  uint32_t incarnation = 0;
  uint32_t vcpu = 0;
  uint64_t page = 0;

  friend constexpr bool operator==(const Stamp&, const Stamp&) = default;
};

inline constexpr uint64_t kPayloadMask = (1ULL << 40) - 1;

constexpr uint64_t PayloadKey(uint64_t seed, uint32_t incarnation) {
  return Mix(seed ^ Mix(incarnation)) & kPayloadMask;
}

constexpr uint64_t EncodeStamp(uint64_t seed, const Stamp& stamp) {
  uint64_t payload = (stamp.page << 9 | stamp.vcpu) ^ PayloadKey(seed, stamp.incarnation);
  payload ^= payload >> 20;  // its own inverse on 40 bits
  return uint64_t{stamp.incarnation} << 40 | payload;
}

// Any value decodes to something; the caller compares it with what could have been written.
constexpr Stamp DecodeStamp(uint64_t seed, uint64_t value) {
  Stamp stamp;
  stamp.incarnation = static_cast<uint32_t>(value >> 40);
  uint64_t payload = value & kPayloadMask;
  payload ^= payload >> 20;
  payload ^= PayloadKey(seed, stamp.incarnation);
  stamp.vcpu = static_cast<uint32_t>(payload & 511);
  stamp.page = payload >> 9;
  return stamp;
}

// What a vCPU remembers of its word in one page: the incarnation it last wrote in (0: never), and whether
// that write is in doubt because the slot changed around it.
struct WriteLog {
  static constexpr uint32_t kDoubt = 1U << 31;
  uint32_t entry = 0;

  constexpr uint32_t incarnation() const { return entry & ~kDoubt; }
  constexpr bool in_doubt() const { return (entry & kDoubt) != 0; }
};

// The log after a write whose slot was in state `before` and then `after`.
//  - Plugged all along: the word holds the stamp of that incarnation.
//  - Unplugged all along: the write was dropped; nothing to remember.
//  - Else it landed nowhere, or in an incarnation up to after's: in doubt until that one is gone.
constexpr WriteLog LogWrite(WriteLog log, SlotState before, SlotState after) {
  if (before == after && before.phase() == Phase::kPlugged)
    return WriteLog{static_cast<uint32_t>(before.incarnation())};
  if (before == after && before.phase() == Phase::kUnplugged) return log;
  return WriteLog{static_cast<uint32_t>(after.incarnation()) | WriteLog::kDoubt};
}

enum class Verdict : uint8_t { kRight, kUnjudged, kStaleRead, kLostWrite, kServedDead };

struct ReadCase {
  uint64_t seed;
  Stamp own;         // page and vCPU of the word; the incarnation is not used
  uint64_t initial;  // what the word holds before its first write in an incarnation
  WriteLog log;
  SlotState before, after;  // of the slot, read before and after the access
};

// Judges a read. Between `before` and `after` of one incarnation c
//  - memory may have answered unless the slot was unplugged already before: then with the stamp of c if the
//    log says so, or the initial content if nothing was written in c;
//  - the empty bus (all-ones) may have answered unless the slot was still plugged afterwards.
// Anything else is a violation. A stamp of an incarnation before c is a stale read, whoever wrote it. If the
// incarnation changed around the read, or the last write is in doubt within c, memory's answer is unknown.
// `*expected` is what memory should have answered (all-ones if it should not have).
constexpr Verdict JudgeRead(const ReadCase& read, uint64_t seen, uint64_t* expected) {
  *expected = kOnes;
  if (read.before.incarnation() != read.after.incarnation()) return Verdict::kUnjudged;
  const auto incarnation = static_cast<uint32_t>(read.before.incarnation());
  const bool memory_may_answer = read.before.phase() != Phase::kUnplugged;
  const bool bus_may_answer = read.before.phase() == Phase::kPlugging || read.after.phase() != Phase::kPlugged;

  if (seen == kOnes && bus_may_answer) return Verdict::kRight;
  if (!memory_may_answer) return Verdict::kServedDead;

  const bool written = read.log.incarnation() == incarnation;
  *expected = written ? EncodeStamp(read.seed, {incarnation, read.own.vcpu, read.own.page}) : read.initial;
  if (seen == *expected) return Verdict::kRight;
  if (seen == kOnes) return Verdict::kLostWrite;
  if (written && read.log.in_doubt()) return Verdict::kUnjudged;

  const Stamp stamp = DecodeStamp(read.seed, seen);
  const bool is_stamp = stamp.incarnation != 0 && stamp.incarnation <= kMaxIncarnation && stamp.vcpu == read.own.vcpu;
  return is_stamp && stamp.incarnation < incarnation ? Verdict::kStaleRead : Verdict::kLostWrite;
}

}  // namespace faultline::storm_abi
