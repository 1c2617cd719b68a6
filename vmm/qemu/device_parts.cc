#include "vmm/qemu/device_parts.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

struct Hint {
  std::string_view driver;  // how its name begins
  std::string_view remedy;
};

constexpr std::array kHints{
    Hint{"virtio-balloon", "write <memballoon model='virtio'/>"},
    Hint{"virtserialport", "remove <channel>"},
    Hint{"pcie-to-pci-bridge", "remove <controller> of model pcie-to-pci-bridge"},
    Hint{"pcie-switch", "remove <controller> of model pcie-switch-upstream-port and -downstream-port"},
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
    Hint{"virtio-pmem", "remove <memory model='virtio-pmem'>"},
    Hint{"vhost", "remove <filesystem>, <vsock> and <interface> of type vhostuser"},
    Hint{"virtio-9p", "remove <filesystem>"},
};

void TakeSerial(OptionValues* device, BackendParts* parts, QemuPlan* plan) {
  if (device->TakeNumber("index").value_or(0) != 0 || !plan->console.id.empty()) {
    throw UsageError(device->option() + ": there is one serial port; keep one <serial>");
  }
  plan->console = parts->TakeChardev(device->option(), device->Need("chardev"));
}

// The backend of a memory device, which the plan keeps.
BackendPlan TakeMemory(OptionValues* device, const std::string& id, BackendParts* parts, QemuPlan* plan) {
  BackendPlan backend = parts->TakeMemory(device->option(), device->Need("memdev"));
  backend.device = id;
  if (device->TakeNumber("node").value_or(0) != 0) {
    throw UsageError(device->option() + ": there is one NUMA node; write <node>0</node>");
  }
  plan->backends.push_back(backend);
  return backend;
}

void TakeDimm(OptionValues* device, const std::string& id, BackendParts* parts, QemuPlan* plan) {
  const BackendPlan backend = TakeMemory(device, id, parts, plan);
  PlugRequest dimm;
  dimm.id = id;
  dimm.size = backend.size;
  dimm.backing = backend.backing;
  dimm.hotplugged = false;
  if (const auto slot = device->TakeNumber("slot")) {
    dimm.slot = static_cast<unsigned>(std::min<uint64_t>(*slot, UINT32_MAX));
  }
  // QEMU takes 0 for "choose one".
  if (const auto address = device->TakeNumber("addr"); address && *address != 0) dimm.address = Gpa(*address);
  plan->dimms.push_back(std::move(dimm));
}

void TakeVirtioMem(OptionValues* device, const std::string& id, BackendParts* parts, const PciPlaces& places,
                   QemuPlan* plan) {
  const BackendPlan backend = TakeMemory(device, id, parts, plan);
  VirtioMemOptions mem;
  mem.id = id;
  mem.size = backend.size;
  mem.backing = backend.backing;
  mem.block = device->TakeSize("block-size", Bytes(1)).value_or(Bytes(0));
  mem.requested = device->TakeSize("requested-size", Bytes(1)).value_or(Bytes(0));
  mem.pci_place = places.Take(device);
  device->Accept("prealloc", "off");
  plan->machine.memory.virtio_mem.push_back(std::move(mem));
}

void TakeBalloon(OptionValues* device, const std::string& id, const PciPlaces& places, QemuPlan* plan) {
  if (plan->machine.balloon) throw UsageError(device->option() + ": one balloon is enough; keep one <memballoon>");
  BalloonOptions& balloon = plan->machine.balloon.emplace();
  if (!id.empty()) balloon.id = id;
  balloon.deflate_on_oom = device->TakeBool("deflate-on-oom").value_or(false);
  balloon.reporting = device->TakeBool("free-page-reporting").value_or(false);
  balloon.pci_place = places.Take(device);
}

// Libvirt finds devices by their ids.
void CheckIdIsFree(const OptionValues& device, const std::string& id, const QemuPlan& plan) {
  const DeviceConfig& devices = plan.machine.devices;
  const bool taken =
      std::ranges::find(plan.inventory.peripherals, id, &Peripheral::id) != plan.inventory.peripherals.end() ||
      std::ranges::find(plan.backends, id, &BackendPlan::device) != plan.backends.end() ||
      std::ranges::find(devices.disks, id, &DiskConfig::id) != devices.disks.end() ||
      std::ranges::find(devices.net_cards, id, &NetCardConfig::id) != devices.net_cards.end() ||
      (plan.machine.balloon && plan.machine.balloon->id == id);
  if (taken) throw UsageError(device.option() + ": the id '" + id.substr(0, 60) + "' is taken");
}

void TakeVirtioSerial(OptionValues* device, const PciPlaces& places, DeviceConfig* devices) {
  if (devices->console) {
    throw UsageError(device->option() + ": one is enough; keep one <controller type='virtio-serial'>");
  }
  devices->console = true;
  devices->console_place = places.Take(device);
  device->Ignore("max_ports");
  device->Ignore("vectors");
}

void TakeVirtioConsole(OptionValues* device, BackendParts* parts, QemuPlan* plan) {
  if (!plan->machine.devices.console) {
    throw UsageError(device->option() +
                     ": it is a part of a virtio-serial-pci; add a <controller type='virtio-serial'>");
  }
  if (!plan->virtio_console.id.empty()) {
    throw UsageError(device->option() +
                     ": there is one virtio console; keep one <console> with <target type='virtio'/>");
  }
  plan->virtio_console = parts->TakeChardev(device->option(), device->Need("chardev"));
  for (const char* key : {"bus", "nr", "name"}) device->Ignore(key);
}

void TakeCard(const std::string& driver, OptionValues* device, const std::string& id, QemuPlan* plan) {
  DeviceConfig& devices = plan->machine.devices;
  // None of a command line's devices goes away while it is taken apart.
  Card card = plan->cards.Take(driver, device, id, [](const std::string&) { return true; });
  if (auto* disk = std::get_if<DiskConfig>(&card)) {
    devices.disks.push_back(std::move(*disk));
  } else {
    devices.net_cards.push_back(std::move(std::get<NetCardConfig>(card)));
  }
}

}  // namespace

void TakeDevice(OptionValues* device, BackendParts* parts, QemuPlan* plan) {
  PciPlaces& places = plan->cards.places;
  const std::string driver = device->Need("driver");
  device->SetSubject(driver.substr(0, 60));
  if (driver.starts_with("virtio-")) {
    device->Accept("disable-legacy", "on");
    device->Accept("disable-modern", "off");
  }
  constexpr std::array<std::string_view, 3> kNamed{"pc-dimm", "pcie-root-port", "virtio-mem-pci"};
  const bool named = std::ranges::find(kNamed, driver) != kNamed.end();
  const std::string id = named ? device->Need("id") : device->Take("id").value_or("");
  if (!id.empty()) CheckIdIsFree(*device, id, *plan);
  DeviceConfig& devices = plan->machine.devices;
  bool known_to_machine = false;  // by its id
  if (driver == "isa-serial") {
    TakeSerial(device, parts, plan);
  } else if (driver == "pc-dimm") {
    TakeDimm(device, id, parts, plan);
    known_to_machine = true;
  } else if (driver == "virtio-mem-pci") {
    TakeVirtioMem(device, id, parts, places, plan);
    known_to_machine = true;
  } else if (driver == "virtio-balloon-pci") {
    TakeBalloon(device, id, places, plan);
    known_to_machine = true;
  } else if (driver == "pcie-root-port") {
    devices.root_ports.push_back(places.TakeRootPort(device, id));
  } else if (driver == kDiskDriver || driver == kNetCardDriver) {
    TakeCard(driver, device, id, plan);
    known_to_machine = true;
  } else if (driver == "virtio-serial-pci") {
    TakeVirtioSerial(device, places, &devices);
  } else if (driver == "virtconsole") {
    TakeVirtioConsole(device, parts, plan);
  } else if (driver == "virtio-rng-pci") {
    if (devices.rng) throw UsageError(device->option() + ": one source of entropy is enough; keep one <rng>");
    parts->TakeRng(device->option(), device->Need("rng"));
    devices.rng = true;
    devices.rng_place = places.Take(device);
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
  if (!id.empty() && !known_to_machine) plan->inventory.peripherals.push_back({id, driver});
}

}  // namespace faultline
