// The devices by which a running guest takes more memory or less without a DIMM: virtio-mem and the balloon.
//
// Owned by the machine; its platform fills in the devices while it loads and they live as long as the platform.
// Read-only afterwards, so any thread may use it while the machine lives.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "devices/pci/pci_bus.h"
#include "devices/virtio/balloon.h"
#include "devices/virtio/mem.h"
#include "vmm/machine/config.h"

namespace faultline {

inline constexpr char kBalloonId[] = "balloon0";

struct ElasticMemory {
  std::vector<VirtioMem*> mems;  // in the order of the config
  Balloon* balloon = nullptr;    // null without one

  // Told on the devices' threads, with no lock held.
  std::function<void(const std::string& id, Bytes plugged)> on_plugged;
  std::function<void(Bytes held)> on_held;

  VirtioMem* Find(const std::string& id) const;
};

// Makes the devices that `config` asks for, puts them on the bus and into `elastic`, which outlives them. Throws
// what their factories throw.
void AddElasticCards(PciBus* bus, const MachineConfig& config, const MemoryLayout& layout,
                     const VirtioEnvironment& environment, ElasticMemory* elastic);

}  // namespace faultline
