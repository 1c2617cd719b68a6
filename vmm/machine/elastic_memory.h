// The devices by which a running guest takes more memory or less without a DIMM: virtio-mem and the balloon.
//
// Owned by the machine; its platform fills in the devices while it loads and they live as long as the platform.
// Read-only afterwards, so any thread may use it while the machine lives.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "devices/pci/pci_function.h"
#include "devices/virtio/balloon.h"
#include "devices/virtio/mem.h"
#include "vmm/machine/config.h"

namespace faultline {

struct ElasticMemory {
  std::vector<VirtioMem*> mems;  // in the order of the config
  Balloon* balloon = nullptr;    // null without one

  // Told on the devices' threads, with no lock held.
  std::function<void(const std::string& id, Bytes plugged)> on_plugged;
  std::function<void(Bytes held)> on_held;

  VirtioMem* Find(const std::string& id) const;
};

struct ElasticCard {
  std::unique_ptr<PciFunction> function;
  std::optional<PciPlace> pci_place;  // where it is to be; the first free one otherwise
};
// Makes the devices that `config` asks for, for a platform to put on its bus, and enters them into `elastic`, which
// outlives them. Throws what their factories throw.
std::vector<ElasticCard> MakeElasticCards(const MachineConfig& config, const MemoryLayout& layout,
                                          const VirtioEnvironment& environment, ElasticMemory* elastic);

}  // namespace faultline
