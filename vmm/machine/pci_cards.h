// The virtio devices of a PC guest on its PCI bus: those its DeviceConfig gives it, and the disks and network cards
// that come and go while it runs.
//
// Owned by the platform beside the bus. AddAll, FindSlots and slots are for set-up, in this order, before any vCPU
// runs; all else is thread-safe.
//
// A card comes in two steps: it is put on the bus, then the guest is told by ACPI to look at the slot. It goes in two
// as well: the guest is told that the slot is wanted, and once its driver has let go it ejects the slot, on a vCPU's
// thread (ACPI 6.5 §6.3.3 _EJ0), which takes the card off the bus. A guest may eject what nobody wanted. Slots that
// hold what has to stay (a root port, the console, a balloon) are none of these: the guest has no method to eject them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "devices/pci/pci_bus.h"
#include "devices/pci/pci_hotplug.h"
#include "devices/virtio/devices.h"
#include "guestmem/mutex.h"
#include "vmm/acpi/pci_slots.h"
#include "vmm/machine/device_config.h"

namespace faultline {

class PciCards {
 public:
  struct Reports {
    std::function<void()> news;                               // the registers have some for the guest
    std::function<void(const std::string& id)> on_unplugged;  // no lock held
  };
  // `bus` and what `environment` names outlive this.
  PciCards(PciBus& bus, VirtioEnvironment environment, const DeviceConfig& config, Reports reports);

  // Root ports first, then disks, network cards, entropy, console, each kind in the order of the config. Returns the
  // way to the console's input, a part of a function on the bus, or null without a console. Throws what the factories
  // throw.
  ConsoleInput* AddAll(ConsoleOutput console);
  // Once all that stays is on the bus: settles which slots cards may come to and go from.
  void FindSlots() EXCLUDES(mutex_);
  const std::vector<PciSlot>& slots() const { return slots_; }
  BusDevice& registers() { return registers_; }

  // See Machine.
  void Plug(const Card& card) EXCLUDES(mutex_);
  void Unplug(const std::string& id) EXCLUDES(mutex_);
  DeviceConfig Devices() const EXCLUDES(mutex_);

 private:
  struct Place {
    std::string id;
    std::optional<PciPlace> place;
  };
  void AddDisk(DiskConfig* disk) REQUIRES(mutex_);
  void AddNetCard(NetCardConfig* card) REQUIRES(mutex_);
  // Of all disks and network cards.
  std::vector<Place> Places() const REQUIRES(mutex_);
  const PciSlot* SlotAt(PciPlace place) const;
  // The slot asked for, or the first free one.
  const PciSlot& FreeSlot(std::optional<PciPlace> wanted) const REQUIRES(mutex_);
  void OnEject(unsigned number) EXCLUDES(mutex_);

  PciBus& bus_;
  const VirtioEnvironment environment_;
  const Reports reports_;
  std::vector<PciSlot> slots_;
  PciHotplug registers_;
  // Held while a card is made and while it ends, which wait for files and for the card's own thread.
  mutable RankedMutex<LockRank::kControl> mutex_;
  DeviceConfig config_ GUARDED_BY(mutex_);
  size_t net_cards_made_ GUARDED_BY(mutex_) = 0;
};

}  // namespace faultline
