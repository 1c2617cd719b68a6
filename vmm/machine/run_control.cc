#include "vmm/machine/run_control.h"

#include <utility>

#include "guestmem/error.h"

namespace faultline {

RunControl::~RunControl() {
  idle_->Interrupt();
  // All are asked before the first is joined.
  for (const auto& vcpu : vcpus_) vcpu->RequestStop();
  vcpus_.clear();
}

void RunControl::Start(bool paused) {
  MutexLock lock(mutex_);
  if (state_ != RunState::kPrelaunch) throw UsageError("the VM has been started already: resume it instead");
  try {
    // vCPU 0 last, and running: when it is the only one it needs no second wake-up.
    for (auto vcpu = vcpus_.rbegin(); vcpu != vcpus_.rend(); ++vcpu) {
      (*vcpu)->Start(paused || *vcpu != vcpus_.front());
    }
  } catch (...) {
    for (const auto& vcpu : vcpus_) vcpu->RequestStop();
    for (const auto& vcpu : vcpus_) vcpu->WaitFinished();
    throw;
  }
  if (paused) return;
  state_ = RunState::kRunning;
  for (const auto& vcpu : vcpus_) vcpu->Resume();
}

bool RunControl::RequestPause(PauseReason reason, const std::string& sentence) {
  {
    MutexLock lock(mutex_);
    if (state_ != RunState::kRunning) return false;
    state_ = RunState::kPaused;
    pause_reason_ = reason;
    idle_->Interrupt();
    for (const auto& vcpu : vcpus_) vcpu->RequestPause();
  }
  Emit(PausedEvent{reason, sentence});
  return true;
}

void RunControl::Pause() {
  RequestPause(PauseReason::kRequested, "the VM was paused on request");
  for (const auto& vcpu : vcpus_) vcpu->WaitParked();
}

bool RunControl::Resume() {
  {
    MutexLock lock(mutex_);
    if (state_ == RunState::kExited) throw UsageError("the VM has ended: nothing can be resumed");
    if (state_ == RunState::kRunning) return false;
    state_ = RunState::kRunning;
    pause_reason_.reset();
    idle_->Rearm();
    for (const auto& vcpu : vcpus_) vcpu->Resume();
  }
  Emit(ResumedEvent{});
  return true;
}

bool RunControl::Exit(ExitStatus status) {
  {
    MutexLock lock(mutex_);
    if (state_ == RunState::kExited) return false;
    state_ = RunState::kExited;
    pause_reason_.reset();
    exit_ = status;
    idle_->Interrupt();
    for (const auto& vcpu : vcpus_) vcpu->RequestStop();
    changed_.NotifyAll();
  }
  Emit(ExitedEvent{std::move(status)});
  return true;
}

ExitStatus RunControl::WaitForExit() {
  MutexLock lock(mutex_);
  while (!exit_) changed_.Wait(mutex_);
  return *exit_;
}

void RunControl::WaitVcpusFinished() {
  for (const auto& vcpu : vcpus_) vcpu->WaitFinished();
}

RunState RunControl::state() const {
  MutexLock lock(mutex_);
  return state_;
}

std::optional<PauseReason> RunControl::pause_reason() const {
  MutexLock lock(mutex_);
  return pause_reason_;
}

std::optional<ExitStatus> RunControl::exit_status() const {
  MutexLock lock(mutex_);
  return exit_;
}

std::vector<VcpuThread*> RunControl::vcpus() const {
  std::vector<VcpuThread*> list;
  list.reserve(vcpus_.size());
  for (const auto& vcpu : vcpus_) list.push_back(vcpu.get());
  return list;
}

}  // namespace faultline
