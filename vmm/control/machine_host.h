// Where the machine of this process lives: one after the other, since a reset ends it and begins one like it.
//
// Owned by the program beside its EventLoop; used on the control thread. The sink is called from any thread (see
// MachineEventSink), and hears nothing of the change from one machine to the next.
#pragma once

#include <atomic>
#include <memory>

#include "vmm/machine/machine.h"

namespace faultline {

class MachineHost {
 public:
  // Makes the first machine; it has not started. Throws what Machine's constructor throws.
  MachineHost(const MachineConfig& config, MachineEventSink sink);

  Machine& machine() { return *machine_; }
  const Machine& machine() const { return *machine_; }

  // What a reset does: ends the machine, makes another one with the same memory plugged and the same asked of its
  // virtio-mem devices and its balloon, and starts it: paused if `paused`. Throws what Machine does; there is no
  // machine then, and the program has to end.
  void Restart(bool paused);
  // The same, paused unless the machine ran.
  void Reset();

 private:
  std::unique_ptr<Machine> Make(const MachineConfig& config);

  const MachineConfig config_;
  const MachineEventSink sink_;
  std::atomic<bool> restarting_{false};
  std::unique_ptr<Machine> machine_;
};

}  // namespace faultline
