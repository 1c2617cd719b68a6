#include "vmm/control/auto_memory.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "guestmem/error.h"
#include "vmm/control/vm_control.h"

namespace faultline {
namespace {

constexpr size_t kTotalTag = 5;  // virtio 1.2 §5.5.6.4: VIRTIO_BALLOON_S_MEMTOT
constexpr size_t kAvailableTag = 6;
// A balloon leaves the guest this part of its memory.
constexpr uint64_t kBalloonFloor = 4;
constexpr Bytes kBalloonStep = 4_MiB;

Bytes RoundDown(Bytes size, Bytes step) { return size - size % step; }

Bytes BalloonBase(const VmControl& vm) {
  const MachineStatus status = vm.Status();
  return status.boot_memory + status.plugged_memory;
}

std::optional<MemoryLever> FindLever(VmControl& vm) {
  const auto mems = vm.VirtioMemDevices();
  if (!mems.empty()) {
    const VirtioMemInfo& mem = mems.front();
    return MemoryLever{.name = mem.id,
                       .requested = mem.state.requested,
                       .actual = mem.state.plugged,
                       .min = Bytes(0),
                       .max = mem.region.size,
                       .step = mem.block};
  }
  const Balloon* const balloon = vm.balloon();
  if (balloon == nullptr) return std::nullopt;
  const BalloonState state = balloon->state();
  const Bytes base = BalloonBase(vm);
  return MemoryLever{.name = "balloon",
                     .requested = base - std::min(state.target, base),
                     .actual = base - std::min(state.held, base),
                     .min = RoundDown(Bytes(base.value / kBalloonFloor), kBalloonStep),
                     .max = base,
                     .step = kBalloonStep};
}

// What the guest's total counts although the balloon has it: Linux leaves it in where it may deflate by itself.
Bytes CountedTwice(VmControl& vm) {
  const auto& balloon = vm.config().balloon;
  return balloon && balloon->deflate_on_oom ? vm.balloon()->state().held : Bytes(0);
}

void Apply(const MemoryDecision& decision, VmControl& vm) {
  const auto mems = vm.VirtioMemDevices();
  if (!mems.empty()) {
    vm.ResizeVirtioMem(mems.front().id, decision.target);
    return;
  }
  const Bytes base = BalloonBase(vm);
  vm.balloon()->SetTarget(base - std::min(decision.target, base));
}

}  // namespace

void AutoMemory::SetMode(AutoMemoryMode mode, VmControl& vm) {
  if (mode != AutoMemoryMode::kOff && vm.balloon() == nullptr) {
    throw UsageError(
        "memory cannot be resized automatically without a balloon, which tells what the guest has to spare: start the "
        "VM with --balloon on, or with --memory SIZE,auto");
  }
  if (mode != mode_) {
    policy_ = MemoryPolicy();
    last_.reset();
    waiting_for_ = "the first look";
  }
  mode_ = mode;
}

void AutoMemory::Tick(VmControl& vm, MemoryPolicy::Clock::time_point now) {
  if (mode_ == AutoMemoryMode::kOff) return;
  last_.reset();
  Balloon* const balloon = vm.balloon();
  const auto lever = FindLever(vm);
  if (balloon == nullptr || !lever) {
    waiting_for_ = "a balloon, which the VM no longer has";
    return;
  }
  // Again after each restart of the machine, which has a new balloon then.
  if (balloon->statistics_interval() == std::chrono::seconds(0)) balloon->SetStatisticsInterval(kPeriod);
  const BalloonStatistics statistics = balloon->statistics();
  const auto total = statistics.values[kTotalTag];
  const auto available = statistics.values[kAvailableTag];
  if (!total || !available || std::chrono::system_clock::now() - statistics.updated > kFresh) {
    waiting_for_ = "statistics from the guest's balloon driver";
    return;
  }
  Look look;
  look.sample = {.now = now,
                 .host_pressure = pressure_(),
                 .guest_total = Bytes(*total - std::min(*total, CountedTwice(vm).value)),
                 .guest_available = Bytes(*available),
                 .lever = *lever};
  look.decision = policy_.Decide(look.sample);
  if (mode_ == AutoMemoryMode::kOn && look.decision.target != lever->requested) {
    try {
      Apply(look.decision, vm);
      look.acted = true;
      ++changes_;
    } catch (const Error& error) {
      look.failure = error.what();
    }
    policy_.Done(now);
  }
  last_ = std::move(look);
}

nlohmann::json AutoMemory::Report() const {
  nlohmann::json report{{"mode", ToString(mode_)}, {"changes", changes_}};
  if (mode_ == AutoMemoryMode::kOff) return report;
  if (!last_) {
    report["waiting-for"] = waiting_for_;
    return report;
  }
  const MemorySample& sample = last_->sample;
  report["host-pressure"] = sample.host_pressure ? nlohmann::json(*sample.host_pressure) : nlohmann::json();
  report["pressed"] = policy_.pressed();
  report["guest-total"] = sample.guest_total.value;
  report["guest-available"] = sample.guest_available.value;
  report["lever"] = sample.lever.name;
  report["requested"] = sample.lever.requested.value;
  report["actual"] = sample.lever.actual.value;
  report["min"] = sample.lever.min.value;
  report["max"] = sample.lever.max.value;
  report["target"] = last_->decision.target.value;
  report["acted"] = last_->acted;
  report["reason"] = last_->decision.reason;
  if (!last_->failure.empty()) report["failure"] = last_->failure;
  return report;
}

}  // namespace faultline
