#include "vmm/control/machine_host.h"

#include <utility>

namespace faultline {

MachineHost::MachineHost(const MachineConfig& config, MachineEventSink sink)
    : config_(config), sink_(std::move(sink)), machine_(Make(config)) {}

std::unique_ptr<Machine> MachineHost::Make(const MachineConfig& config) {
  return std::make_unique<Machine>(Host::System(), config, [this](const MachineEvent& event) {
    if (!restarting_.load(std::memory_order_relaxed)) sink_(event);
  });
}

void MachineHost::Restart(bool paused) {
  restarting_.store(true, std::memory_order_relaxed);
  machine_->Stop();
  MachineConfig config = config_;
  config.start_paused = paused;
  config.devices = machine_->Devices();
  // What was asked of the guest is asked of the next one.
  const std::vector<VirtioMemInfo> mems = machine_->VirtioMemDevices();
  for (size_t i = 0; i < mems.size(); ++i) config.memory.virtio_mem[i].requested = mems[i].state.requested;
  std::chrono::seconds statistics_interval{0};
  if (const Balloon* const balloon = machine_->balloon()) {
    config.balloon->target = balloon->state().target;
    statistics_interval = balloon->statistics_interval();
  }
  const std::vector<MemoryDeviceInfo> plugged = machine_->MemoryDevices();
  // The old one lets go of memory and disks before the new one takes them.
  machine_.reset();
  config.incoming = false;
  machine_ = Make(config);
  if (Balloon* const balloon = machine_->balloon()) balloon->SetStatisticsInterval(statistics_interval);
  for (const MemoryDeviceInfo& device : plugged) {
    machine_->PlugMemory({.id = device.id,
                          .size = device.gpa.size,
                          .slot = device.slot,
                          .address = device.gpa.start,
                          .node = device.node,
                          .backing = device.backing,
                          .source = nullptr,
                          .hotplugged = device.hotplugged});
  }
  restarting_.store(false, std::memory_order_relaxed);
  machine_->Start();
}

void MachineHost::Reset() { Restart(machine_->Status().state != RunState::kRunning); }

}  // namespace faultline
