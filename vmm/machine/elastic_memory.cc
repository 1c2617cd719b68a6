#include "vmm/machine/elastic_memory.h"

#include <algorithm>
#include <utility>

namespace faultline {

VirtioMem* ElasticMemory::Find(const std::string& id) const {
  const auto it = std::ranges::find_if(mems, [&id](const VirtioMem* mem) { return mem->config().id == id; });
  return it == mems.end() ? nullptr : *it;
}

std::vector<ElasticCard> MakeElasticCards(const MachineConfig& config, const MemoryLayout& layout,
                                          const VirtioEnvironment& environment, ElasticMemory* elastic) {
  std::vector<ElasticCard> cards;
  for (size_t i = 0; i < config.memory.virtio_mem.size(); ++i) {
    const VirtioMemOptions& options = config.memory.virtio_mem[i];
    VirtioMemConfig mem;
    mem.id = options.id;
    mem.region = layout.virtio_mem[i];
    mem.block = options.block_size();
    mem.requested = options.requested;
    mem.backing = options.backing.value_or(config.memory.backing);
    mem.on_change = [elastic, id = options.id](Bytes plugged) { elastic->on_plugged(id, plugged); };
    VirtioMemDevice device = MakeVirtioMem(std::move(mem), environment);
    elastic->mems.push_back(&device.mem);
    cards.push_back({std::move(device.function), options.pci_place});
  }
  if (!config.balloon) return cards;
  BalloonConfig balloon = *config.balloon;
  balloon.on_change = [elastic](Bytes held) { elastic->on_held(held); };
  VirtioBalloonDevice device = MakeVirtioBalloon(std::move(balloon), environment);
  elastic->balloon = &device.balloon;
  cards.push_back({std::move(device.function), config.balloon->pci_place});
  return cards;
}

}  // namespace faultline
