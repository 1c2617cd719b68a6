#include "vmm/machine/virtio_cards.h"

#include <utility>

namespace faultline {
ConsoleInput* AddVirtioCards(PciBus* bus, const DeviceConfig& config, const VirtioEnvironment& environment,
                             ConsoleOutput console) {
  for (const BlockConfig& disk : config.disks) bus->Add(MakeVirtioBlock(disk, environment));
  if (config.rng) bus->Add(MakeVirtioRng(environment));
  if (!config.console) return nullptr;
  VirtioConsoleDevice device = MakeVirtioConsole(std::move(console), environment);
  ConsoleInput* input = &device.input;
  bus->Add(std::move(device.function));
  return input;
}

}  // namespace faultline
