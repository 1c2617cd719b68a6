#include "vmm/machine/pci_cards.h"

#include <algorithm>
#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

std::unique_ptr<NetBackend> MakeNetBackend(const NetCardConfig& config) {
  if (config.tap_fd) return MakeTapBackend(*config.tap_fd);
  return config.tap ? MakeTapBackend(*config.tap) : MakeSlirpBackend(config.user);
}

std::string Text(PciPlace place) {
  return "slot " + std::to_string(place.slot) + " of PCI bus " + std::to_string(place.bus);
}

}  // namespace

PciCards::PciCards(PciBus& bus, VirtioEnvironment environment, const DeviceConfig& config, Reports reports)
    : bus_(bus),
      environment_(std::move(environment)),
      reports_(std::move(reports)),
      registers_({reports_.news, [this](unsigned number) { OnEject(number); }}),
      config_(config) {}

void PciCards::AddDisk(DiskConfig* disk) {
  if (!disk->counters) disk->counters = std::make_shared<BlockCounters>();
  const unsigned slot = bus_.Add(MakeVirtioBlock(*disk, environment_), disk->pci_place);
  if (!disk->pci_place) disk->pci_place = PciPlace{.slot = slot};
}

void PciCards::AddNetCard(NetCardConfig* card) {
  NetConfig net;
  net.backend = MakeNetBackend(*card);
  if (!card->mac) {
    card->mac = net.mac;
    card->mac->back() = static_cast<uint8_t>(card->mac->back() + net_cards_made_);
  }
  net.mac = *card->mac;
  const unsigned slot = bus_.Add(MakeVirtioNet(std::move(net), environment_), card->pci_place);
  if (!card->pci_place) card->pci_place = PciPlace{.slot = slot};
  ++net_cards_made_;
}

ConsoleInput* PciCards::AddAll(ConsoleOutput console) {
  MutexLock lock(mutex_);
  for (const PciPlace& place : config_.root_ports) bus_.AddRootPort(place);
  for (DiskConfig& disk : config_.disks) AddDisk(&disk);
  for (NetCardConfig& card : config_.net_cards) AddNetCard(&card);
  if (config_.rng) bus_.Add(MakeVirtioRng(environment_), config_.rng_place);
  if (!config_.console) return nullptr;
  VirtioConsoleDevice device = MakeVirtioConsole(std::move(console), environment_);
  ConsoleInput* input = &device.input;
  bus_.Add(std::move(device.function), config_.console_place);
  return input;
}

std::vector<PciCards::Place> PciCards::Places() const {
  std::vector<Place> places;
  for (const DiskConfig& disk : config_.disks) places.push_back({disk.id, disk.pci_place});
  for (const NetCardConfig& card : config_.net_cards) places.push_back({card.id, card.pci_place});
  return places;
}

void PciCards::FindSlots() {
  MutexLock lock(mutex_);
  if (!config_.hotplug) return;
  const std::vector<Place> cards = Places();
  const auto may_go = [&](PciPlace place) {
    return !bus_.Occupied(place) || std::ranges::find(cards, std::optional(place), &Place::place) != cards.end();
  };
  for (unsigned i = 0; i < config_.root_ports.size(); ++i) {
    const PciPlace behind{.bus = i + 1};
    if (may_go(behind)) slots_.push_back({.number = i, .place = behind, .port = config_.root_ports[i]});
  }
  if (!config_.root_ports.empty()) return;
  for (unsigned slot = 1; slot < PciBus::kSlots; ++slot) {
    bool alone = true;
    for (unsigned function = 1; function < IntxRouter::kFunctions; ++function) {
      alone = alone && !bus_.Occupied({.slot = slot, .function = function});
    }
    const PciPlace place{.slot = slot};
    if (alone && may_go(place)) slots_.push_back({.number = slot, .place = place, .port = std::nullopt});
  }
}

const PciSlot* PciCards::SlotAt(PciPlace place) const {
  const auto slot = std::ranges::find(slots_, place, &PciSlot::place);
  return slot == slots_.end() ? nullptr : &*slot;
}

const PciSlot& PciCards::FreeSlot(std::optional<PciPlace> wanted) const {
  if (!config_.hotplug) {
    throw UsageError("disks and network cards of this VM cannot come and go: give them to it when it is started");
  }
  if (wanted) {
    const PciSlot* const slot = SlotAt(*wanted);
    if (slot == nullptr) {
      throw UsageError(Text(*wanted) + " is not one that cards come to while the VM runs: " +
                       (config_.root_ports.empty() ? "choose a free slot, function 0" : "choose a free root port"));
    }
    if (bus_.Occupied(*wanted)) throw UsageError(Text(*wanted) + " is taken: choose another or none");
    return *slot;
  }
  const auto free = std::ranges::find_if(slots_, [&](const PciSlot& slot) { return !bus_.Occupied(slot.place); });
  if (free == slots_.end()) throw UsageError("no PCI slot is free for another card: unplug one");
  return *free;
}

void PciCards::Plug(const Card& card) {
  MutexLock lock(mutex_);
  const auto [id, place] = std::visit([](const auto& any) { return Place{any.id, any.pci_place}; }, card);
  if (id.empty()) throw UsageError("a card that is plugged needs an id, by which it can be unplugged");
  const std::vector<Place> cards = Places();
  if (std::ranges::find(cards, id, &Place::id) != cards.end()) {
    throw UsageError("a device with the id '" + id.substr(0, 60) + "' is there already: choose another");
  }
  const PciSlot& slot = FreeSlot(place);
  if (const auto* disk = std::get_if<DiskConfig>(&card)) {
    DiskConfig placed = *disk;
    placed.pci_place = slot.place;
    AddDisk(&placed);
    config_.disks.push_back(std::move(placed));
  } else {
    NetCardConfig placed = std::get<NetCardConfig>(card);
    placed.pci_place = slot.place;
    AddNetCard(&placed);
    config_.net_cards.push_back(std::move(placed));
  }
  registers_.Inserted(slot.number);
}

void PciCards::Unplug(const std::string& id) {
  MutexLock lock(mutex_);
  const std::vector<Place> cards = Places();
  const auto card = id.empty() ? cards.end() : std::ranges::find(cards, id, &Place::id);
  if (card == cards.end()) throw UsageError("there is no disk or network card '" + id.substr(0, 60) + "'");
  const PciSlot* const slot = card->place ? SlotAt(*card->place) : nullptr;
  if (slot == nullptr) {
    throw UsageError("'" + id.substr(0, 60) + "' stays while the VM runs: it sits where cards cannot be unplugged" +
                     (config_.root_ports.empty() ? "" : "; put it behind a root port"));
  }
  registers_.WantRemoval(slot->number);
}

void PciCards::OnEject(unsigned number) {
  std::string id;
  {
    MutexLock lock(mutex_);
    const auto slot = std::ranges::find(slots_, number, &PciSlot::number);
    if (slot == slots_.end()) return;
    const std::vector<Place> cards = Places();
    const auto card = std::ranges::find(cards, std::optional(slot->place), &Place::place);
    if (card == cards.end()) return;
    bus_.Remove(slot->place);
    registers_.Withdraw(number);
    id = card->id;
    const auto there = [&](const auto& any) { return any.pci_place == slot->place; };
    std::erase_if(config_.disks, there);
    std::erase_if(config_.net_cards, there);
  }
  if (!id.empty()) reports_.on_unplugged(id);
}

DeviceConfig PciCards::Devices() const {
  MutexLock lock(mutex_);
  return config_;
}

}  // namespace faultline
