#include "vmm/control/card_backends.h"

#include <utility>

namespace faultline {

Card CardBackends::Take(const std::string& driver, OptionValues* device, const std::string& id,
                        const IsThere& is_there) {
  // The guest has no firmware that would look for something to boot from.
  device->Ignore("bootindex");
  if (driver == kDiskDriver) {
    const std::string drive = device->Need("drive");
    const std::string serial = device->Take("serial").value_or("");
    const auto place = places.Take(device);
    device->Ignore("write-cache");
    device->Finish();
    DiskConfig disk = blocks.Attach(device->option(), drive, id, is_there);
    disk.id = id;
    disk.serial = serial;
    disk.pci_place = place;
    return disk;
  }
  const std::string netdev = device->Need("netdev");
  const auto mac = device->Take("mac");
  const auto place = places.Take(device);
  device->Accept("romfile", "");
  device->Finish();
  std::optional<MacAddress> address;
  if (mac) address = ParseMacAddress(*mac);
  NetCardConfig card = nets.Attach(device->option(), netdev, id, is_there);
  card.id = id;
  card.mac = address;
  card.pci_place = place;
  return card;
}

}  // namespace faultline
