// A storm's block and its window as plain memory, for one worker on the test's own thread; with switches
// that make the memory misbehave.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <map>
#include <vector>

#include "vmm/builtin_guest/storm_worker.h"
#include "vmm/storm/control_block.h"
#include "vmm/storm/plan.h"

namespace faultline {

class FakeMemory {
 public:
  explicit FakeMemory(const StormOptions& options, const std::vector<uint64_t>& initial = {})
      : plan(StormPlan::For(options, !initial.empty())),
        area_(plan.block_size.value / sizeof(storm_abi::Block) + 1),
        block(area_.data()),
        control(block, plan, options.pattern, options.seed, initial) {}

  // Only words that were written exist; all others read as zeroes.
  uint64_t Load(uint64_t gpa) {
    ++loads;
    if (on_load) on_load();
    const unsigned slot = plan.SlotOf(Gpa(gpa));
    touched[slot] += 1;
    if (!present[slot] && !serve_dead) return storm_abi::kOnes;
    const auto it = words.find(gpa);
    return it == words.end() ? 0 : it->second;
  }
  void Store(uint64_t gpa, uint64_t value) {
    const unsigned slot = plan.SlotOf(Gpa(gpa));
    touched[slot] += 1;
    if (!present[slot] && !serve_dead) return;
    if (lose_writes) return;
    words[gpa] = value;
  }
  void Fence() {}
  uint64_t Ticks() { return ++ticks; }
  void Idle() { ++idles; }

  void Plug(unsigned slot, uint64_t incarnation) {
    control.Publish(slot, incarnation, storm_abi::Phase::kPlugged);
    present[slot] = true;
  }
  void Unplug(unsigned slot, uint64_t incarnation, bool keep_content = false) {
    control.Publish(slot, incarnation, storm_abi::Phase::kUnplugged);
    present[slot] = false;
    if (keep_content) return;
    const GpaRange range = plan.SlotRange(slot);
    words.erase(words.lower_bound(range.start.value), words.lower_bound(range.end().value));
  }
  uint64_t violations(storm_abi::ViolationKind kind) const {
    return control.totals().violations[static_cast<unsigned>(kind)];
  }

  const StormPlan plan;

 private:
  std::vector<storm_abi::Block> area_;

 public:
  storm_abi::Block* const block;
  ControlBlock control;
  bool serve_dead = false;
  bool lose_writes = false;
  std::function<void()> on_load;
  std::map<unsigned, bool> present;
  std::map<unsigned, uint64_t> touched;
  std::map<uint64_t, uint64_t> words;
  uint64_t loads = 0, ticks = 0, idles = 0;
};

// Small, so that a few thousand steps meet every page again and again.
inline StormOptions SmallStorm(StormPattern pattern = StormPattern::kRandom) {
  StormOptions options;
  options.engine = StormEngineKind::kThreads;
  options.vcpus = 1;
  options.regions = 2;
  options.region_size = 2_MiB;
  options.pattern = pattern;
  options.seed = 7;
  return options;
}

}  // namespace faultline
