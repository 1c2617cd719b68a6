#include "vmm/domain_xml/device_elements.h"

#include <string>
#include <utility>

#include "devices/virtio/devices.h"
#include "vmm/domain_xml/console_elements.h"
#include "vmm/domain_xml/memory_elements.h"
#include "vmm/domain_xml/pci_controllers.h"

namespace faultline {
namespace {

void FinishAfterAlias(Element* device) {
  device->Ignore({"alias", "boot"});
  device->Finish();
}

void TakeDiskTarget(Element target) {
  const std::string name = target.TakeAttribute("dev").value_or("vda");
  // libvirt goes by the name when there is no bus.
  const std::string bus = target.TakeAttribute("bus").value_or(name.starts_with("vd") ? "virtio" : name);
  if (bus != "virtio") target.Refuse("bus='" + bus.substr(0, 40) + "' is not supported; write 'virtio'");
  target.Finish();
}

DiskConfig TakeDisk(Element disk, const PciControllers& pci) {
  DiskConfig config;
  disk.Accept("device", "disk", "there are no CD-ROM and floppy drives; remove the element");
  const std::string type = disk.TakeAttribute("type").value_or("file");
  if (type != "file" && type != "block") {
    disk.Refuse("type='" + type.substr(0, 40) + "' is not supported; write 'file' or 'block'");
  }
  disk.Accept("snapshot", "no", "leave it out");
  disk.Ignore({"backingStore", "model"});
  if (auto driver = disk.TakeChild("driver")) {
    driver->Accept("name", "qemu", "write 'qemu'");
    driver->Accept("type", "raw", "convert the image: qemu-img convert -O raw");
    // How QEMU would go about it; the guest sees no difference.
    driver->Ignore({"cache", "io", "discard", "detect_zeroes", "error_policy", "rerror_policy", "queues"});
    driver->Finish();
  }
  auto source = disk.TakeChild("source");
  if (!source) disk.Refuse("<source> is missing");
  config.path = source->NeedAttribute(type == "file" ? "file" : "dev");
  if (config.path.empty()) source->Refuse("it names nothing; name a file or a block device");
  source->Ignore({"index"});
  source->Finish();
  if (auto target = disk.TakeChild("target")) TakeDiskTarget(std::move(*target));
  config.read_only = disk.TakeChild("readonly").has_value();
  if (auto serial = disk.TakeChild("serial")) {
    config.serial = serial->TakeText();
    serial->Finish();
  }
  config.pci_place = pci.TakeAddress(&disk);
  FinishAfterAlias(&disk);
  return config;
}

NetCardConfig TakeInterface(Element interface, const PciControllers& pci) {
  NetCardConfig config;
  const std::string type = interface.NeedAttribute("type");
  if (type == "ethernet") {
    auto target = interface.TakeChild("target");
    if (!target) interface.Refuse("name the tap interface in <target dev='...' managed='no'/>");
    config.tap = target->NeedAttribute("dev");
    target->Accept("managed", "no", "make the tap yourself: ip tuntap add NAME mode tap");
    target->Finish();
  } else if (type != "user") {
    interface.Refuse("type='" + type.substr(0, 40) + "' is not supported; write 'user', or 'ethernet' with a tap");
  }
  if (auto mac = interface.TakeChild("mac")) {
    config.mac = mac->Parsed(ParseMacAddress, mac->NeedAttribute("address"));
    mac->Finish();
  }
  if (auto model = interface.TakeChild("model")) {
    model->Accept("type", "virtio", "write 'virtio'");
    model->Finish();
  }
  config.pci_place = pci.TakeAddress(&interface);
  FinishAfterAlias(&interface);
  return config;
}

void TakeRng(Element rng, const PciControllers& pci, DeviceConfig* devices) {
  rng.Accept("model", "virtio", "write 'virtio'");
  if (auto backend = rng.TakeChild("backend")) {
    backend->Accept("model", "random", "entropy is the host's; write 'random'");
    const std::string source = backend->TakeText();
    if (!source.empty() && source != "/dev/urandom" && source != "/dev/random") {
      backend->Refuse("entropy is the host kernel's; write /dev/urandom");
    }
    backend->Finish();
  }
  devices->rng = true;
  devices->rng_place = pci.TakeAddress(&rng);
  FinishAfterAlias(&rng);
}

// Those that do not belong to PCI itself.
void TakeController(Element controller, const std::string& type, const PciControllers& pci, DeviceConfig* devices) {
  if (type == "virtio-serial") {
    controller.Ignore({"index"});
    devices->console_place = pci.TakeAddress(&controller);
  } else if (type == "sata" || type == "ide") {
    // libvirt writes them by itself; nothing is there, as each disk is on virtio.
    controller.Ignore({"index", "address"});
  } else if (type == "usb") {
    if (controller.TakeAttribute("model") != "none") {
      controller.Refuse("type='usb' is not supported; write model='none'");
    }
    controller.Ignore({"index"});
  } else {
    controller.Refuse("type='" + type.substr(0, 40) + "' is not supported; remove the element");
  }
  FinishAfterAlias(&controller);
}

// The buses come first: an <address> may name one that comes later in the text.
PciControllers TakeControllers(Element* devices, DeviceConfig* config) {
  PciControllers pci;
  std::vector<std::pair<std::string, Element>> others;
  for (Element& controller : devices->TakeChildren("controller")) {
    std::string type = controller.NeedAttribute("type");
    if (type == "pci") {
      pci.Take(std::move(controller));
    } else {
      others.emplace_back(std::move(type), std::move(controller));
    }
  }
  config->root_ports = pci.Finish();
  for (auto& [type, controller] : others) TakeController(std::move(controller), type, pci, config);
  return pci;
}

// What libvirt adds by itself and asks for nothing.
void TakeTheRest(Element* devices) {
  devices->Ignore({"emulator"});
  for (Element& input : devices->TakeChildren("input")) input.Accept("bus", "ps2", "remove the element");
  for (Element& audio : devices->TakeChildren("audio")) audio.Accept("type", "none", "write 'none'");
  for (Element& video : devices->TakeChildren("video")) {
    auto model = video.TakeChild("model");
    if (!model || model->TakeAttribute("type") != "none") video.Refuse("there is no graphics; remove the element");
  }
}

}  // namespace

void TakeDevices(Element* devices, Domain* domain) {
  DeviceConfig& config = domain->machine.devices;
  const PciControllers pci = TakeControllers(devices, &config);
  for (Element& disk : devices->TakeChildren("disk")) config.disks.push_back(TakeDisk(std::move(disk), pci));
  for (Element& card : devices->TakeChildren("interface")) {
    config.net_cards.push_back(TakeInterface(std::move(card), pci));
  }
  TakeConsoles(devices, domain);
  if (!config.console) config.console_place.reset();
  if (auto rng = devices->TakeChild("rng")) TakeRng(std::move(*rng), pci, &config);
  TakeMemoryDevices(devices, pci, domain);
  TakeTheRest(devices);
  devices->Finish();
}

}  // namespace faultline
