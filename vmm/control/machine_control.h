// VmControl over a real Machine.
//
// Owned by the program; used on the control thread, as VmControl is.
#pragma once

#include <functional>
#include <vector>

#include "vmm/control/machine_host.h"
#include "vmm/control/vm_control.h"

namespace faultline {

class MachineControl final : public VmControl {
 public:
  // What only the program can do; called on the control thread.
  struct Program {
    std::function<void()> quit;   // makes the program end and does not wait for it
    std::function<void()> reset;  // see VmControl::Reset
  };
  // `host` outlives this.
  MachineControl(MachineHost& host, Surroundings surroundings, Program program);

  const MachineConfig& config() const override { return machine().config(); }
  const Surroundings& surroundings() const override { return surroundings_; }
  MachineStatus Status() const override { return machine().Status(); }
  std::vector<MemoryDeviceInfo> MemoryDevices() const override { return machine().MemoryDevices(); }
  void MergeFaultLatency(LatencyHistogram& into) const override;
  void Pause() override { machine().Pause(); }
  void Resume() override { machine().Resume(); }
  void RequestShutdown() override { machine().RequestShutdown(); }
  void Reset() override { program_.reset(); }
  void Quit() override { program_.quit(); }

  MemoryDeviceInfo PlugMemory(const PlugRequest& request) override { return machine().PlugMemory(request); }
  uint64_t UnplugMemory(const UnplugRequest& request) override { return machine().UnplugMemory(request); }
  std::vector<UnplugOperationInfo> MemoryOperations() const override { return machine().MemoryOperations(); }
  void CancelUnplug(uint64_t operation) override { machine().CancelUnplug(operation); }
  std::vector<VirtioMemInfo> VirtioMemDevices() const override { return machine().VirtioMemDevices(); }
  std::vector<MemoryMapInfo> MemoryMaps(size_t cells) const override { return machine().MemoryMaps(cells); }
  void ResizeVirtioMem(const std::string& id, Bytes requested) override { machine().ResizeVirtioMem(id, requested); }
  Balloon* balloon() override { return machine().balloon(); }

 private:
  Machine& machine() { return host_.machine(); }
  const Machine& machine() const { return host_.machine(); }

  MachineHost& host_;
  const Surroundings surroundings_;
  const Program program_;
};

}  // namespace faultline
