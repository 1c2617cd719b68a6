// What a storm's host and its vCPUs share: one block of memory with the window's geometry, the state of
// every window slot, and for each vCPU a mailbox, counters and a log of what it wrote.
//
// Freestanding: compiled into the built-in guest's payload and into the host alike, so all places are
// offsets from the block's start. In a VM the block lies at kStormBlockGpa of boot memory; with host
// threads as vCPUs it is plain memory. Every word has one writer; Load and Store below are what both
// sides use.
#pragma once

#include <cstddef>
#include <cstdint>

namespace faultline::storm_abi {

inline constexpr uint64_t kStormBlockGpa = 2ULL << 20;
inline constexpr uint32_t kMaxVcpus = 256;
inline constexpr uint32_t kMaxSlots = 2048;
inline constexpr uint64_t kPageBytes = 4096;
inline constexpr uint32_t kPagesPerLeafTable = 512;

// Acquire and release make "the state around an access" meaningful: see StormWorker.
inline uint64_t Load(const uint64_t* word) noexcept { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
inline void Store(uint64_t* word, uint64_t value) noexcept { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
// For a counter with one writer.
inline void Add(uint64_t* word, uint64_t n) noexcept {
  __atomic_store_n(word, __atomic_load_n(word, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

// The life of a window slot, in this order and then again with the next incarnation; the host publishes
// kPlugging before it plugs, kPlugged when that is done, and likewise for the way out.
enum class Phase : uint8_t { kPlugging = 0, kPlugged = 1, kUnplugging = 2, kUnplugged = 3 };

// An incarnation and a phase in one word, which only grows: two equal reads mean that nothing happened in
// between. Incarnations count all plugs of a storm from 1; incarnation 0 has only the phase kUnplugged.
struct SlotState {
  uint64_t word = static_cast<uint64_t>(Phase::kUnplugged);

  static constexpr SlotState Of(uint64_t incarnation, Phase phase) {
    return SlotState{incarnation << 2 | static_cast<uint64_t>(phase)};
  }
  constexpr uint64_t incarnation() const { return word >> 2; }
  constexpr Phase phase() const { return static_cast<Phase>(word & 3); }
  friend constexpr bool operator==(SlotState a, SlotState b) { return a.word == b.word; }
};

enum class Pattern : uint32_t { kRandom, kSequential, kHot, kSameLeaf };
enum class Command : uint8_t { kRun = 0, kPause = 1, kStop = 2 };

// A command and a serial number in one word, so that an acknowledgement names the very command.
constexpr uint64_t CommandWord(uint64_t serial, Command command) {
  return serial << 2 | static_cast<uint64_t>(command);
}
constexpr Command CommandOf(uint64_t word) { return static_cast<Command>(word & 3); }

// "Please leave slot S": one word from the host, 0 for none; the answer is that word with the lowest bit
// telling refusal.
constexpr uint64_t LeaveRequest(uint64_t serial, uint32_t slot) {
  return serial << 20 | uint64_t{slot} << 1 | 1ULL << 19;
}
constexpr uint32_t LeaveSlot(uint64_t request) { return static_cast<uint32_t>(request >> 1 & 0xffff); }
constexpr uint64_t LeaveAnswer(uint64_t request, bool refused) { return request | (refused ? 1 : 0); }

enum class ViolationKind : uint64_t { kStaleRead = 0, kLostWrite = 1, kServedDead = 2 };
inline constexpr uint32_t kViolationKinds = 3;
inline constexpr uint32_t kViolationRecords = 8;

struct ViolationRecord {
  uint64_t kind, gpa, expected, seen, incarnation;
};

// Same buckets as the host's LatencyHistogram.
inline constexpr uint32_t kLatencySubBits = 6;
inline constexpr uint32_t kLatencyOctaves = 40 - kLatencySubBits + 1;
inline constexpr uint32_t kLatencyBuckets = kLatencyOctaves << kLatencySubBits;

struct VcpuBlock {
  // Host's words.
  alignas(64) uint64_t leave_request;
  // The vCPU's words.
  alignas(64) uint64_t heartbeat;  // accesses begun
  uint64_t acknowledged;           // the command word it last obeyed
  uint64_t leave_answer;
  uint64_t reads, writes;            // finished, wherever they went
  uint64_t dead_reads, dead_writes;  // of them, aimed at an unplugged slot on purpose
  uint64_t unjudged;                 // reads whose slot changed around them too much to judge
  uint64_t violations[kViolationKinds];
  ViolationRecord records[kViolationRecords];  // the first ones
  uint64_t latency_max;                        // ticks
  uint64_t latency[kLatencyBuckets];           // of accesses to plugged slots, in ticks
};

struct Block {
  uint64_t vcpus, slots;
  uint64_t pages_per_slot;
  uint64_t window_gpa;
  uint64_t seed;
  uint64_t pattern;
  uint64_t vcpu_blocks;  // offset of VcpuBlock[vcpus]
  uint64_t logs;         // offset of uint32_t[vcpus][slots * pages_per_slot], see WriteLog
  uint64_t initial;      // offset of uint64_t[pages_per_slot][vcpus]: what memory holds before the first write;
                         // 0: zeroes
  // Host's words that change.
  alignas(64) uint64_t command;
  uint64_t focus_slot;  // where everybody meets (pattern kSameLeaf)
  alignas(64) uint64_t states[kMaxSlots];
};

// Where everything in the block lies.
struct Layout {
  uint64_t vcpu_blocks, logs, initial, size;

  static constexpr Layout For(uint64_t vcpus, uint64_t slots, uint64_t pages_per_slot, bool with_initial) {
    const auto align = [](uint64_t v) { return (v + kPageBytes - 1) / kPageBytes * kPageBytes; };
    Layout layout{};
    layout.vcpu_blocks = align(sizeof(Block));
    layout.logs = align(layout.vcpu_blocks + vcpus * sizeof(VcpuBlock));
    const uint64_t logs_end = align(layout.logs + vcpus * slots * pages_per_slot * sizeof(uint32_t));
    layout.initial = with_initial ? logs_end : 0;
    layout.size = with_initial ? align(logs_end + pages_per_slot * vcpus * sizeof(uint64_t)) : logs_end;
    return layout;
  }
};

inline VcpuBlock* VcpuBlockOf(Block* block, uint64_t vcpu) noexcept {
  return reinterpret_cast<VcpuBlock*>(reinterpret_cast<char*>(block) + block->vcpu_blocks) + vcpu;
}

}  // namespace faultline::storm_abi
