#include "vmm/qemu/device_parts.h"

#include <array>
#include <string_view>
#include <utility>

#include "devices/pci/pci_bus.h"
#include "guestmem/error.h"

namespace faultline {
namespace {

struct Hint {
  std::string_view driver;  // how its name begins
  std::string_view remedy;
};

constexpr std::array kHints{
    Hint{"virtio-balloon", "write <memballoon model='none'/>"},
    Hint{"virtio-serial", "remove <channel>, and <console> of type virtio"},
    Hint{"virtserialport", "remove <channel>"},
    Hint{"virtconsole", "write <console> with <target type='serial'/>"},
    Hint{"pcie-root-port",
         "give each device an <address type='pci' bus='0x00' slot='…'/> and remove <controller> of "
         "model pcie-root-port"},
    Hint{"pci-bridge", "remove <controller> of model pci-bridge"},
    Hint{"usb-", "remove <input bus='usb'>, <redirdev> and <hub>"},
    Hint{"ich9-usb", "write <controller type='usb' model='none'/>"},
    Hint{"piix3-usb", "write <controller type='usb' model='none'/>"},
    Hint{"qemu-xhci", "write <controller type='usb' model='none'/>"},
    Hint{"nec-usb-xhci", "write <controller type='usb' model='none'/>"},
    Hint{"ide-", "write <target bus='virtio'/> in <disk>"},
    Hint{"scsi-", "write <target bus='virtio'/> in <disk>"},
    Hint{"virtio-scsi", "write <target bus='virtio'/> in <disk>"},
    Hint{"lsi", "write <target bus='virtio'/> in <disk>"},
    Hint{"ahci", "write <target bus='virtio'/> in <disk>"},
    Hint{"qxl", "remove <video> and <graphics>"},
    Hint{"VGA", "remove <video> and <graphics>"},
    Hint{"cirrus", "remove <video> and <graphics>"},
    Hint{"bochs", "remove <video> and <graphics>"},
    Hint{"virtio-vga", "remove <video> and <graphics>"},
    Hint{"virtio-gpu", "remove <video> and <graphics>"},
    Hint{"e1000", "write <model type='virtio'/> in <interface>"},
    Hint{"rtl8139", "write <model type='virtio'/> in <interface>"},
    Hint{"intel-hda", "remove <sound>"},
    Hint{"ich9-intel-hda", "remove <sound>"},
    Hint{"hda-", "remove <sound>"},
    Hint{"vfio", "remove <hostdev>"},
    Hint{"tpm", "remove <tpm>"},
    Hint{"i6300esb", "remove <watchdog>"},
    Hint{"iTCO", "remove <watchdog>"},
    Hint{"pvpanic", "remove <panic>"},
    Hint{"nvdimm", "remove <memory model='nvdimm'>"},
    Hint{"virtio-mem", "remove <memory model='virtio-mem'>"},
    Hint{"vhost", "remove <filesystem>, <vsock> and <interface> of type vhostuser"},
    Hint{"virtio-9p", "remove <filesystem>"},
};

// "0x3", "3", "0x3.0": the slot. Functions above the first are not there.
unsigned ParseSlot(const OptionValues& device, std::string text) {
  if (const size_t dot = text.find('.'); dot != std::string::npos) {
    const std::string function = text.substr(dot + 1);
    if (function != "0" && function != "0x0") {
      throw UsageError(device.option() + ": a device is function 0 of its slot; write function='0x0' in its <address>");
    }
    text.resize(dot);
  }
  OptionValues number(device.option(), text, "addr");
  const uint64_t slot = number.TakeNumber("addr").value_or(0);
  if (slot == 0 || slot >= PciBus::kSlots) {
    throw UsageError(device.option() + ": slot " + text.substr(0, 20) + " is not free; choose 1 to " +
                     std::to_string(PciBus::kSlots - 1) + " in its <address>");
  }
  return static_cast<unsigned>(slot);
}

std::optional<unsigned> TakePciSlot(OptionValues* device, const MachineType& machine) {
  if (const auto bus = device->Take("bus"); bus && *bus != machine.bus) {
    throw UsageError(device->option() + ": there is one PCI bus, not '" + bus->substr(0, 40) +
                     "'; write bus='0x00' in its <address>");
  }
  device->Accept("multifunction", "off");
  auto address = device->Take("addr");
  if (!address) return std::nullopt;
  return ParseSlot(*device, *std::move(address));
}

void TakeSerial(OptionValues* device, BackendParts* parts, QemuPlan* plan) {
  if (device->TakeNumber("index").value_or(0) != 0 || !plan->console.id.empty()) {
    throw UsageError(device->option() + ": there is one serial port; keep one <serial>");
  }
  plan->console = parts->TakeChardev(device->option(), device->Need("chardev"));
}

void TakeDimm(OptionValues* device, BackendParts* parts, QemuPlan* plan) {
  DimmPlan dimm;
  dimm.backend = device->Need("memdev");
  const BackendPlan backend = parts->TakeMemory(device->option(), dimm.backend);
  plan->backends.push_back(backend);
  dimm.request.id = device->Need("id");
  dimm.request.size = backend.size;
  dimm.request.backing = backend.backing;
  if (const auto slot = device->TakeNumber("slot")) {
    dimm.request.slot = static_cast<unsigned>(std::min<uint64_t>(*slot, UINT32_MAX));
  }
  // QEMU takes 0 for "choose one".
  if (const auto address = device->TakeNumber("addr"); address && *address != 0) dimm.request.address = Gpa(*address);
  if (device->TakeNumber("node").value_or(0) != 0) {
    throw UsageError(device->option() + ": there is one NUMA node; write <node>0</node>");
  }
  device->Finish();
  plan->dimms.push_back(std::move(dimm));
}

void TakeDisk(OptionValues* device, BackendParts* parts, const MachineType& machine, const std::string& id,
              QemuPlan* plan) {
  DiskNode node = parts->TakeDisk(device->option(), device->Need("drive"));
  node.device = id;
  DiskConfig disk;
  disk.path = node.path;
  disk.read_only = node.read_only;
  disk.serial = device->Take("serial").value_or("");
  disk.pci_slot = TakePciSlot(device, machine);
  device->Ignore("bootindex");
  device->Ignore("write-cache");
  plan->machine.devices.disks.push_back(std::move(disk));
  plan->inventory.disks.push_back(std::move(node));
}

void TakeNetCard(OptionValues* device, BackendParts* parts, const MachineType& machine, QemuPlan* plan) {
  NetCardConfig card = parts->TakeNet(device->option(), device->Need("netdev"));
  if (const auto mac = device->Take("mac")) card.mac = ParseMacAddress(*mac);
  card.pci_slot = TakePciSlot(device, machine);
  device->Ignore("bootindex");
  device->Accept("romfile", "");
  plan->machine.devices.net_cards.push_back(std::move(card));
}

}  // namespace

void TakeDevice(OptionValues* device, const MachineType& machine, BackendParts* parts, QemuPlan* plan) {
  const std::string driver = device->Need("driver");
  device->SetSubject(driver.substr(0, 60));
  if (driver == "pc-dimm") return TakeDimm(device, parts, plan);
  const std::string id = device->Take("id").value_or("");
  DeviceConfig& devices = plan->machine.devices;
  if (driver == "isa-serial") {
    TakeSerial(device, parts, plan);
  } else if (driver == "virtio-blk-pci") {
    TakeDisk(device, parts, machine, id, plan);
  } else if (driver == "virtio-net-pci") {
    TakeNetCard(device, parts, machine, plan);
  } else if (driver == "virtio-rng-pci") {
    if (devices.rng) throw UsageError(device->option() + ": one source of entropy is enough; keep one <rng>");
    parts->TakeRng(device->option(), device->Need("rng"));
    devices.rng = true;
    devices.rng_slot = TakePciSlot(device, machine);
  } else {
    for (const Hint& hint : kHints) {
      if (driver.starts_with(hint.driver)) {
        throw UsageError(device->option() + ": there is no such device; " + std::string(hint.remedy) +
                         " in the domain");
      }
    }
    throw UsageError(device->option() + ": there is no such device; remove what asks for it from <devices>");
  }
  device->Finish();
  if (!id.empty()) plan->inventory.peripherals.push_back({id, driver});
}

}  // namespace faultline
