#include "vmm/domain_xml/pci_controllers.h"

#include <algorithm>
#include <string>
#include <utility>

#include "devices/pci/pci_bus.h"

namespace faultline {

void PciControllers::Take(Element controller) {
  const std::string model = controller.TakeAttribute("model").value_or("pci-root");
  const auto index = controller.TakeNumber("index", PciBus::kBuses - 1);
  controller.Ignore({"alias", "model", "target"});  // the element <model> names what QEMU calls it
  if (model == "pci-root" || model == "pcie-root") {
    if (index.value_or(0) != 0) controller.Refuse("there is one root bus, index='0'; remove the element");
  } else if (model == "pcie-root-port") {
    const auto place = TakeAddress(&controller);
    if (place && place->bus != 0) controller.Refuse("a root port sits on bus 0; write bus='0x00' in its <address>");
    // One without an address is room for hot-plugged devices, of which there are none.
    if (place && !index) controller.Refuse("'index', the number of the bus behind it, is missing");
    if (index && std::ranges::find(ports_, *index, &RootPort::index) != ports_.end()) {
      controller.Refuse("there is another with the same 'index'; give each its own");
    }
    if (place) ports_.push_back({*index, *place});
  } else {
    controller.Refuse("model='" + model.substr(0, 40) +
                      "' is not supported; remove it, and put its devices on bus 0 or behind a 'pcie-root-port'");
  }
  controller.Finish();
}

std::vector<PciPlace> PciControllers::Finish() {
  std::ranges::stable_sort(ports_, {}, &RootPort::index);
  std::vector<PciPlace> places;
  for (const RootPort& port : ports_) places.push_back(port.place);
  return places;
}

std::optional<PciPlace> PciControllers::TakeAddress(Element* device) const {
  auto address = device->TakeChild("address");
  if (!address) return std::nullopt;
  if (address->NeedAttribute("type") != "pci") address->Refuse("the device is on PCI; leave <address> out");
  if (address->TakeNumber("domain").value_or(0) != 0) address->Refuse("there is PCI domain 0 alone");
  address->Ignore({"multifunction"});  // a slot has as many functions as there are devices in it
  PciPlace place;
  place.slot = static_cast<unsigned>(address->TakeNumber("slot", PciBus::kSlots - 1).value_or(0));
  place.function = static_cast<unsigned>(address->TakeNumber("function", IntxRouter::kFunctions - 1).value_or(0));
  const uint64_t bus = address->TakeNumber("bus").value_or(0);
  if (bus == 0) {
    if (place.slot == 0) address->Refuse("'slot' 0 is the host bridge's; leave <address> out to have one chosen");
  } else {
    const auto port = std::ranges::find(ports_, bus, &RootPort::index);
    if (port == ports_.end()) {
      address->Refuse(
          "there is no <controller type='pci' model='pcie-root-port'> with the index of that bus; leave "
          "<address> out to have a place chosen");
    }
    place.bus = static_cast<unsigned>(port - ports_.begin()) + 1;
  }
  address->Finish();
  return place;
}

}  // namespace faultline
