#include "vmm/storm/control_block.h"

#include <cassert>
#include <cstring>
#include <thread>

#include "vmm/builtin_guest/storm_worker.h"

namespace faultline {
namespace {

using storm_abi::Load;
using storm_abi::Store;

constexpr std::chrono::microseconds kPoll{100};

static_assert(storm_abi::kLatencyBuckets == LatencyHistogram::kBuckets);
static_assert(static_cast<unsigned>(StormPattern::kSameLeaf) == static_cast<unsigned>(storm_abi::Pattern::kSameLeaf));

constexpr std::array<const char*, storm_abi::kViolationKinds> kKindNames = {"stale_read", "lost_write", "served_dead"};

}  // namespace

ControlBlock::ControlBlock(storm_abi::Block* block, const StormPlan& plan, StormPattern pattern, uint64_t seed,
                           const std::vector<uint64_t>& initial)
    : block_(block), vcpus_(plan.vcpus) {
  block->vcpus = plan.vcpus;
  block->slots = plan.slots;
  block->pages_per_slot = plan.slot_size / Bytes(storm_abi::kPageBytes);
  block->window_gpa = plan.window.start.value;
  block->seed = seed;
  block->pattern = static_cast<uint64_t>(pattern);
  block->vcpu_blocks = plan.layout.vcpu_blocks;
  block->logs = plan.layout.logs;
  block->initial = initial.empty() ? 0 : plan.layout.initial;
  if (!initial.empty()) {
    assert(initial.size() == block->pages_per_slot * vcpus_);
    std::memcpy(reinterpret_cast<std::byte*>(block) + block->initial, initial.data(),
                initial.size() * sizeof(uint64_t));
  }
  for (unsigned slot = 0; slot < plan.slots; ++slot) Publish(slot, 0, storm_abi::Phase::kUnplugged);
}

void ControlBlock::Publish(unsigned slot, uint64_t incarnation, storm_abi::Phase phase) noexcept {
  Store(&block_->states[slot], storm_abi::SlotState::Of(incarnation, phase).word);
}

void ControlBlock::SetFocus(unsigned slot) noexcept { Store(&block_->focus_slot, slot); }

ControlBlock::Answer ControlBlock::AskToLeave(unsigned slot, Deadline deadline) noexcept {
  const uint64_t request = storm_abi::LeaveRequest(++leave_serial_, slot);
  for (unsigned i = 0; i < vcpus_; ++i) Store(&vcpu(i)->leave_request, request);
  for (unsigned i = 0; i < vcpus_;) {
    const uint64_t answer = Load(&vcpu(i)->leave_answer);
    if (answer == storm_abi::LeaveAnswer(request, true)) return Answer::kRefused;
    if (answer == storm_abi::LeaveAnswer(request, false)) {
      ++i;
      continue;
    }
    if (std::chrono::steady_clock::now() >= deadline) return Answer::kNoAnswer;
    std::this_thread::sleep_for(kPoll);
  }
  return Answer::kAllLeft;
}

void ControlBlock::Withdraw() noexcept {
  for (unsigned i = 0; i < vcpus_; ++i) Store(&vcpu(i)->leave_request, 0);
}

bool ControlBlock::Command(storm_abi::Command command, uint64_t* word) noexcept {
  MutexLock lock(mutex_);
  if (stopped_) return false;
  stopped_ = command == storm_abi::Command::kStop;
  *word = storm_abi::CommandWord(++command_serial_, command);
  Store(&block_->command, *word);
  return true;
}

bool ControlBlock::Pause(Deadline deadline) noexcept {
  uint64_t word = 0;
  if (!Command(storm_abi::Command::kPause, &word)) return false;
  for (unsigned i = 0; i < vcpus_;) {
    if (Load(&vcpu(i)->acknowledged) == word) {
      ++i;
      continue;
    }
    if (Load(&block_->command) != word || std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

void ControlBlock::Resume() noexcept {
  uint64_t word = 0;
  Command(storm_abi::Command::kRun, &word);
}

void ControlBlock::Stop() noexcept {
  uint64_t word = 0;
  Command(storm_abi::Command::kStop, &word);
}

uint64_t ControlBlock::heartbeat(unsigned index) const noexcept { return Load(&vcpu(index)->heartbeat); }

ControlBlock::Totals ControlBlock::totals() const noexcept {
  Totals totals;
  for (unsigned i = 0; i < vcpus_; ++i) {
    totals.reads += Load(&vcpu(i)->reads);
    totals.writes += Load(&vcpu(i)->writes);
    for (unsigned kind = 0; kind < storm_abi::kViolationKinds; ++kind) {
      totals.violations[kind] += Load(&vcpu(i)->violations[kind]);
    }
  }
  return totals;
}

std::vector<StormViolation> ControlBlock::violation_details() const {
  std::vector<StormViolation> details;
  for (unsigned i = 0; i < vcpus_; ++i) {
    uint64_t count = 0;
    for (const uint64_t& of_kind : vcpu(i)->violations) count += Load(&of_kind);
    for (uint64_t n = 0; n < count && n < storm_abi::kViolationRecords; ++n) {
      const storm_abi::ViolationRecord& record = vcpu(i)->records[n];
      details.push_back({kKindNames[record.kind % kKindNames.size()], i, Gpa(record.gpa), record.expected, record.seen,
                         record.incarnation});
    }
  }
  return details;
}

StormQuantiles ControlBlock::guest_latency(double ticks_per_second) const {
  std::vector<uint64_t> buckets(storm_abi::kLatencyBuckets);
  uint64_t count = 0;
  uint64_t max = 0;
  for (unsigned i = 0; i < vcpus_; ++i) {
    for (unsigned b = 0; b < storm_abi::kLatencyBuckets; ++b) {
      const uint64_t n = Load(&vcpu(i)->latency[b]);
      buckets[b] += n;
      count += n;
    }
    max = std::max(max, Load(&vcpu(i)->latency_max));
  }
  if (count == 0 || ticks_per_second <= 0) return {};
  const auto to_ns = [ticks_per_second](uint64_t ticks) {
    return static_cast<uint64_t>(static_cast<double>(ticks) * 1e9 / ticks_per_second);
  };
  const auto quantile = [&](double q) {
    const auto rank = static_cast<uint64_t>(q * static_cast<double>(count));
    uint64_t below = 0;
    for (unsigned b = 0; b < storm_abi::kLatencyBuckets; ++b) {
      below += buckets[b];
      if (below > rank) return to_ns(std::min(LatencyHistogram::BucketFloor(b), max));
    }
    return to_ns(max);
  };
  return {quantile(0.5), quantile(0.99), quantile(0.999), to_ns(max)};
}

}  // namespace faultline
