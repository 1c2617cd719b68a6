// The worker thread of PluggedMemory: one unplug after the other, from the request to its end.
#include <pthread.h>

#include <algorithm>
#include <utility>

#include "guestmem/error.h"
#include "vmm/machine/plugged_memory.h"
#include "vmm/machine/unplug_text.h"

namespace faultline {
namespace {

constexpr size_t kEndedKept = 16;

}  // namespace

void PluggedMemory::Work() {
  pthread_setname_np(pthread_self(), "memory");
  while (true) {
    Step step;
    {
      MutexLock lock(mutex_);
      while ((step = NextStepLocked()).kind == Step::Kind::kNone) {
        if (closing_) return;
        if (const auto deadline = NextDeadlineLocked()) {
          changed_.WaitUntil(mutex_, *deadline);
        } else {
          changed_.Wait(mutex_);
        }
      }
    }
    Do(std::move(step));
  }
}

PluggedMemory::Step PluggedMemory::NextStepLocked() {
  for (auto& [id, device] : table_.devices()) {
    if (device.phase != MemoryDevice::Phase::kUnplugging) continue;
    if (auto step = StepForLocked(device)) return *std::move(step);
  }
  return {};
}

std::optional<PluggedMemory::Step> PluggedMemory::StepForLocked(MemoryDevice& device) {
  PendingUnplug& pending = *device.pending;
  Step step;
  step.id = device.id;
  step.slot = device.slot;
  step.region = device.region;
  step.pin_deadline = pending.pin_deadline;
  step.result.id = device.id;
  step.result.operation = pending.operation;
  step.result.gpa = device.gpa;
  step.result.forced = pending.force;

  if (cancelled_) {
    step.kind = Step::Kind::kCancel;
    step.result.outcome = UnplugOutcome::kCancelled;
    step.result.reason = CancelledText(device.id);
    EndLocked(device, step);
  } else if (pending.force || pending.ejected) {
    step.kind = Step::Kind::kRemove;
    device.phase = MemoryDevice::Phase::kRemoving;
    pending.stage = UnplugStage::kRemoving;
  } else if (pending.refusal) {
    step.kind = Step::Kind::kRollBack;
    step.result.outcome = UnplugOutcome::kRefused;
    step.result.ost_status = pending.refusal->status;
    step.result.reason = RefusedText(device.id, pending.refusal->event, pending.refusal->status);
    EndLocked(device, step);
  } else if (pending.withdrawn) {
    step.kind = Step::Kind::kRollBack;
    step.result.outcome = UnplugOutcome::kWithdrawn;
    step.result.reason = WithdrawnText(device.id);
    EndLocked(device, step);
  } else if (!pending.asked) {
    step.kind = Step::Kind::kAsk;
    pending.asked = true;
    pending.stage = UnplugStage::kAsked;
  } else if (pending.deadline && Clock::now() >= *pending.deadline) {
    step.kind = Step::Kind::kRollBack;
    step.result.outcome = UnplugOutcome::kTimedOut;
    step.result.reason = TimedOutText(device.id, pending.timeout, pending.stage);
    EndLocked(device, step);
  } else {
    return std::nullopt;
  }
  return step;
}

std::optional<PluggedMemory::Clock::time_point> PluggedMemory::NextDeadlineLocked() const {
  std::optional<Clock::time_point> next;
  for (const auto& [id, device] : table_.devices()) {
    if (!device.pending || !device.pending->deadline) continue;
    if (!next || *device.pending->deadline < *next) next = device.pending->deadline;
  }
  return next;
}

void PluggedMemory::Do(Step step) {
  switch (step.kind) {
    case Step::Kind::kNone:
      return;
    case Step::Kind::kAsk:
      ReportProgress(step, UnplugStage::kAsked);
      registers_.RequestEject(step.slot);
      return;
    case Step::Kind::kRemove:
      ReportProgress(step, UnplugStage::kRemoving);
      Remove(std::move(step));
      return;
    case Step::Kind::kRollBack:
      registers_.CancelEject(step.slot);
      Report(step);
      return;
    case Step::Kind::kCancel:
      Report(step);
      return;
  }
}

void PluggedMemory::Remove(Step step) {
  try {
    UnplugOptions options;
    options.pin_deadline = step.pin_deadline;
    step.result.report = memory_->Unplug(step.region, options);
    registers_.Remove(step.slot);
  } catch (const std::exception& e) {
    step.result.outcome = UnplugOutcome::kFailed;
    step.result.reason = e.what();
  }
  {
    MutexLock lock(mutex_);
    EndLocked(*table_.Find(step.id), step);
  }
  if (step.result.outcome != UnplugOutcome::kDone) registers_.CancelEject(step.slot);
  Report(step);
}

void PluggedMemory::EndLocked(MemoryDevice& device, Step& step) {
  const PendingUnplug& pending = *device.pending;
  const Clock::duration guest = pending.answered.value_or(Clock::now()) - pending.since;
  step.result.guest_ns = pending.force ? 0 : static_cast<uint64_t>(std::chrono::nanoseconds(guest).count());
  step.result.stage = pending.stage;
  UnplugOperationInfo ended = OperationLocked(device);
  ended.time_left.reset();
  ended.result = step.result;
  if (ended_.size() == kEndedKept) ended_.pop_front();
  ended_.push_back(std::move(ended));

  step.done = std::move(device.pending->done);
  if (step.result.outcome == UnplugOutcome::kDone) {
    table_.Erase(step.id);
    return;
  }
  // A region whose unplug was rolled back goes on under a new id.
  if (const auto region = memory_->FindRegion(device.gpa.start)) device.region = *region;
  device.pending.reset();
  device.phase = MemoryDevice::Phase::kPlugged;
  // A guest that has not said no may still say yes.
  device.late_eject_possible =
      step.result.outcome == UnplugOutcome::kTimedOut || step.result.outcome == UnplugOutcome::kWithdrawn;
}

void PluggedMemory::ReportProgress(const Step& step, UnplugStage stage) const {
  Emit(MemoryProgressEvent{step.result.operation, step.id, step.slot, stage});
}

void PluggedMemory::Report(const Step& step) const {
  Emit(MemoryUnplugEvent{step.slot, step.result});
  for (const auto& done : step.done) done(step.result);
}

}  // namespace faultline
