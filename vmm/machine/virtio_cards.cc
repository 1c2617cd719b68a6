#include "vmm/machine/virtio_cards.h"

#include <utility>

namespace faultline {
namespace {

std::unique_ptr<PciFunction> MakeNetCard(const NetCardConfig& config, size_t number,
                                         const VirtioEnvironment& environment) {
  NetConfig net;
  net.backend = config.tap ? MakeTapBackend(*config.tap) : MakeSlirpBackend(config.user);
  if (config.mac) {
    net.mac = *config.mac;
  } else {
    net.mac.back() = static_cast<uint8_t>(net.mac.back() + number);
  }
  return MakeVirtioNet(std::move(net), environment);
}

}  // namespace

ConsoleInput* AddVirtioCards(PciBus* bus, const DeviceConfig& config, const VirtioEnvironment& environment,
                             ConsoleOutput console) {
  for (const DiskConfig& disk : config.disks) bus->Add(MakeVirtioBlock(disk, environment), disk.pci_place);
  for (size_t i = 0; i < config.net_cards.size(); ++i) {
    bus->Add(MakeNetCard(config.net_cards[i], i, environment), config.net_cards[i].pci_place);
  }
  if (config.rng) bus->Add(MakeVirtioRng(environment), config.rng_place);
  if (!config.console) return nullptr;
  VirtioConsoleDevice device = MakeVirtioConsole(std::move(console), environment);
  ConsoleInput* input = &device.input;
  bus->Add(std::move(device.function), config.console_place);
  return input;
}

}  // namespace faultline
