// The monitor's VM when there is none: `-machine none`, by which management tools ask what there could be.
#pragma once

#include "guestmem/error.h"
#include "vmm/control/vm_control.h"

namespace faultline {

// Used on the control thread. Every operation on a machine is a UsageError.
class ProbeControl final : public VmControl {
 public:
  // `quit` makes the program end and does not wait for it.
  explicit ProbeControl(std::function<void()> quit) : quit_(std::move(quit)) {
    config_.name = "none";
    config_.cpus = 0;
    surroundings_.console = "none";
  }

  const MachineConfig& config() const override { return config_; }
  const Surroundings& surroundings() const override { return surroundings_; }
  MachineStatus Status() const override { return {}; }
  std::vector<MemoryDeviceInfo> MemoryDevices() const override { return {}; }
  void MergeFaultLatency(LatencyHistogram& /*into*/) const override {}

  void Pause() override { Refuse(); }
  void Resume() override { Refuse(); }
  void RequestShutdown() override { Refuse(); }
  void Reset() override { Refuse(); }
  void Quit() override { quit_(); }
  MemoryDeviceInfo PlugMemory(const PlugRequest& /*request*/) override { Refuse(); }
  uint64_t UnplugMemory(const UnplugRequest& /*request*/) override { Refuse(); }
  std::vector<UnplugOperationInfo> MemoryOperations() const override { return {}; }
  void CancelUnplug(uint64_t /*operation*/) override { Refuse(); }
  std::vector<VirtioMemInfo> VirtioMemDevices() const override { return {}; }
  std::vector<MemoryMapInfo> MemoryMaps(size_t /*cells*/) const override { return {}; }
  void ResizeVirtioMem(const std::string& /*id*/, Bytes /*requested*/) override { Refuse(); }
  Balloon* balloon() override { return nullptr; }
  void PlugCard(const Card& /*card*/) override { Refuse(); }
  void UnplugCard(const std::string& /*id*/) override { Refuse(); }
  DeviceConfig Devices() const override { return {}; }
  void Save(FileDescriptor /*out*/) override { Refuse(); }
  void Restore(FileDescriptor /*in*/) override { Refuse(); }
  void CancelMigration() override {}
  MigrationInfo MigrationState() const override { return {}; }

 private:
  [[noreturn]] static void Refuse() {
    throw UsageError("there is no machine: this was started with -machine none, for questions only");
  }

  MachineConfig config_;
  Surroundings surroundings_;
  const std::function<void()> quit_;
};

}  // namespace faultline
