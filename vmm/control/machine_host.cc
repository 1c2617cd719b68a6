#include "vmm/control/machine_host.h"

#include <utility>

namespace faultline {

MachineHost::MachineHost(const MachineConfig& config, MachineEventSink sink)
    : config_(config), sink_(std::move(sink)), machine_(Make(config.start_paused)) {}

std::unique_ptr<Machine> MachineHost::Make(bool paused) {
  MachineConfig config = config_;
  config.start_paused = paused;
  return std::make_unique<Machine>(Host::System(), config, [this](const MachineEvent& event) {
    if (!restarting_.load(std::memory_order_relaxed)) sink_(event);
  });
}

void MachineHost::Restart(bool paused) {
  restarting_.store(true, std::memory_order_relaxed);
  machine_->Stop();
  const std::vector<MemoryDeviceInfo> plugged = machine_->MemoryDevices();
  const Balloon* const balloon = machine_->balloon();
  const Bytes target = balloon == nullptr ? Bytes(0) : balloon->state().target;
  const auto interval = balloon == nullptr ? std::chrono::seconds(0) : balloon->statistics_interval();
  // The old one lets go of memory and disks before the new one takes them.
  machine_.reset();
  machine_ = Make(paused);
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
  if (Balloon* const next = machine_->balloon()) {
    next->SetTarget(target);
    next->SetStatisticsInterval(interval);
  }
  restarting_.store(false, std::memory_order_relaxed);
  machine_->Start();
}

void MachineHost::Reset() { Restart(machine_->Status().state != RunState::kRunning); }

}  // namespace faultline
