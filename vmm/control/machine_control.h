// VmControl over a real Machine.
//
// Owned by the program; used on the control thread, as VmControl is.
#pragma once

#include <functional>
#include <vector>

#include "vmm/control/machine_host.h"
#include "vmm/control/migration.h"
#include "vmm/control/vm_control.h"

namespace faultline {

class MachineControl final : public VmControl {
 public:
  // What only the program can do; called on the control thread.
  struct Program {
    std::function<void()> quit;   // makes the program end and does not wait for it
    std::function<void()> reset;  // see VmControl::Reset
    Migration::Emit emit;         // see Migration
  };
  // `host` outlives this.
  MachineControl(MachineHost& host, Surroundings surroundings, Program program);

  const MachineConfig& config() const override { return machine().config(); }
  const Surroundings& surroundings() const override { return surroundings_; }
  MachineStatus Status() const override { return machine().Status(); }
  std::vector<MemoryDeviceInfo> MemoryDevices() const override { return machine().MemoryDevices(); }
  void MergeFaultLatency(LatencyHistogram& into) const override;
  void Pause() override;
  void Resume() override;
  void RequestShutdown() override { Free().RequestShutdown(); }
  void Reset() override;
  void Quit() override { program_.quit(); }

  MemoryDeviceInfo PlugMemory(const PlugRequest& request) override { return Free().PlugMemory(request); }
  uint64_t UnplugMemory(const UnplugRequest& request) override { return Free().UnplugMemory(request); }
  std::vector<UnplugOperationInfo> MemoryOperations() const override { return machine().MemoryOperations(); }
  void CancelUnplug(uint64_t operation) override { machine().CancelUnplug(operation); }
  std::vector<VirtioMemInfo> VirtioMemDevices() const override { return machine().VirtioMemDevices(); }
  std::vector<MemoryMapInfo> MemoryMaps(size_t cells) const override { return machine().MemoryMaps(cells); }
  void ResizeVirtioMem(const std::string& id, Bytes requested) override { Free().ResizeVirtioMem(id, requested); }
  Balloon* balloon() override { return machine().balloon(); }
  void PlugCard(const Card& card) override { Free().PlugCard(card); }
  void UnplugCard(const std::string& id) override { Free().UnplugCard(id); }
  DeviceConfig Devices() const override { return machine().Devices(); }

  void Save(FileDescriptor out) override;
  void Restore(FileDescriptor in) override;
  void CancelMigration() override { migration_.Cancel(); }
  MigrationInfo MigrationState() const override { return migration_.Query(); }
  // Cancels what is under way and waits for its end: before the machine, or what the program's `emit` needs, goes away.
  void EndMigration() { migration_.End(); }

 private:
  // The machine, when it may be changed. UsageError otherwise.
  Machine& Free();
  Machine& machine() { return host_.machine(); }
  const Machine& machine() const { return host_.machine(); }

  MachineHost& host_;
  const Surroundings surroundings_;
  const Program program_;
  Migration migration_;
};

}  // namespace faultline
