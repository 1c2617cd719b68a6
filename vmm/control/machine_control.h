// VmControl over a real Machine.
//
// Owned by the program; used on the control thread, as VmControl is. The machine outlives it, or its use.
#pragma once

#include <functional>
#include <vector>

#include "vmm/control/vm_control.h"

namespace faultline {

class MachineControl final : public VmControl {
 public:
  // `quit` makes the program end; it is called on the control thread and must not wait for it.
  MachineControl(Machine& machine, Surroundings surroundings, std::function<void()> quit);

  const MachineConfig& config() const override { return machine_->config(); }
  const Surroundings& surroundings() const override { return surroundings_; }
  MachineStatus Status() const override { return machine_->Status(); }
  std::vector<MemoryDeviceInfo> MemoryDevices() const override { return machine_->MemoryDevices(); }
  void MergeFaultLatency(LatencyHistogram& into) const override;
  void Pause() override { machine_->Pause(); }
  void Resume() override { machine_->Resume(); }
  void RequestShutdown() override { machine_->RequestShutdown(); }
  void Quit() override { quit_(); }

  // The machine that takes the place of one that was restarted.
  void SetMachine(Machine& machine) { machine_ = &machine; }

  MemoryDeviceInfo PlugMemory(const PlugRequest& request) override { return machine_->PlugMemory(request); }
  void UnplugMemory(const UnplugRequest& request) override { machine_->UnplugMemory(request); }
  std::vector<VirtioMemInfo> VirtioMemDevices() const override { return machine_->VirtioMemDevices(); }
  void ResizeVirtioMem(const std::string& id, Bytes requested) override { machine_->ResizeVirtioMem(id, requested); }
  Balloon* balloon() override { return machine_->balloon(); }

 private:
  Machine* machine_;
  const Surroundings surroundings_;
  const std::function<void()> quit_;
};

}  // namespace faultline
