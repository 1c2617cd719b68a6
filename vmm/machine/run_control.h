// Who may run: the machine's run state and the vCPU threads that follow it.
//
// Owned by the machine. Thread-safe; only the members that say so block. Its lock (kControl) makes each change of
// state and the requests to all vCPUs one step; it is never held while waiting for a vCPU, so a vCPU, a
// userfault reader and a person may all ask at once, and the last word is the same for every vCPU.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "devices/idle_port.h"
#include "guestmem/mutex.h"
#include "vmm/kvm/vcpu_thread.h"
#include "vmm/machine/events.h"

namespace faultline {

class RunControl {
 public:
  // `idle` is where vCPUs of a guest that cannot halt wait; it outlives this.
  RunControl(IdlePort& idle, const MachineEventSink& sink) : idle_(&idle), sink_(&sink) {}
  // Stops and joins the vCPU threads.
  ~RunControl();

  // Before Start.
  void AddVcpu(std::unique_ptr<VcpuThread> vcpu) { vcpus_.push_back(std::move(vcpu)); }

  // Begins all threads; stays in kPrelaunch if `paused`. Throws Error, with no thread running. Once.
  void Start(bool paused);

  // Asks every vCPU to leave the guest; for any thread, vCPUs' included. False when it does not run.
  bool RequestPause(PauseReason reason, const std::string& sentence);
  // RequestPause for kRequested; then blocks until no vCPU runs, whoever paused it.
  void Pause();
  // False when it runs already. UsageError once exited.
  bool Resume();

  // Keep every vCPU out of KVM_RUN for a while, and no longer; the run state is not touched. Neither waits.
  void Hold() {
    for (const auto& vcpu : vcpus_) vcpu->Hold();
  }
  void Release() {
    for (const auto& vcpu : vcpus_) vcpu->Release();
  }

  // Ends the machine: the first caller's status counts. For any thread. False when it had ended before.
  bool Exit(ExitStatus status);
  // Block until it has ended / until it has ended and no vCPU thread runs any more.
  ExitStatus WaitForExit();
  void WaitVcpusFinished();

  RunState state() const;
  std::optional<PauseReason> pause_reason() const;
  std::optional<ExitStatus> exit_status() const;
  std::vector<VcpuThread*> vcpus() const;

 private:
  void Emit(const MachineEvent& event) const {
    if (*sink_) (*sink_)(event);
  }

  IdlePort* idle_;
  const MachineEventSink* sink_;
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;  // constant from Start on

  mutable RankedMutex<LockRank::kControl> mutex_;
  CondVar changed_;
  RunState state_ GUARDED_BY(mutex_) = RunState::kPrelaunch;
  std::optional<PauseReason> pause_reason_ GUARDED_BY(mutex_);
  std::optional<ExitStatus> exit_ GUARDED_BY(mutex_);
};

}  // namespace faultline
