#include "vmm/control/pci_places.h"

#include <algorithm>

#include "devices/pci/pci_bus.h"
#include "guestmem/error.h"

namespace faultline {
namespace {

// One number of an address, as QEMU takes it: hexadecimal with and without "0x".
unsigned ParseHex(const OptionValues& device, const std::string& text, unsigned end, const char* what) {
  const std::string digits = text.starts_with("0x") || text.starts_with("0X") ? text : "0x" + text;
  OptionValues number(device.option(), digits, "addr");
  const uint64_t value = number.TakeNumber("addr").value_or(end);
  if (value >= end) {
    throw UsageError(device.option() + ": there is no PCI " + what + " " + text.substr(0, 20) + "; choose 0 to " +
                     std::to_string(end - 1) + " in its <address>");
  }
  return static_cast<unsigned>(value);
}

}  // namespace

unsigned PciPlaces::BusNamed(const OptionValues& device, const std::string& name) const {
  if (name == machine_->bus) return 0;
  const auto port = std::ranges::find(ports_, name);
  if (port == ports_.end()) {
    throw UsageError(device.option() + ": there is no PCI bus '" + name.substr(0, 40) +
                     "'; write bus='0x00' in its <address>");
  }
  return static_cast<unsigned>(port - ports_.begin() + 1);
}

std::optional<PciPlace> PciPlaces::Take(OptionValues* device) const {
  PciPlace place;
  if (const auto bus = device->Take("bus")) place.bus = BusNamed(*device, *bus);
  device->Ignore("multifunction");  // a slot has as many functions as there are devices in it
  const auto address = device->Take("addr");
  if (!address) {
    if (place.bus == 0) return std::nullopt;
    return place;
  }
  const size_t dot = address->find('.');
  place.slot = ParseHex(*device, address->substr(0, dot), PciBus::kSlots, "slot");
  if (dot != std::string::npos) {
    place.function = ParseHex(*device, address->substr(dot + 1), IntxRouter::kFunctions, "function");
  }
  if (place.bus == 0 && place.slot == 0) {
    throw UsageError(device->option() + ": PCI slot 0 is the host bridge's; choose another in its <address>");
  }
  return place;
}

PciPlace PciPlaces::TakeRootPort(OptionValues* device, const std::string& id) {
  // What the guest reads there has no meaning to anybody but people.
  device->Ignore("port");
  device->Ignore("chassis");
  const auto place = Take(device);
  if (machine_->bus != "pcie.0" || !place || place->bus != 0) {
    throw UsageError(device->option() +
                     ": a root port sits on the root bus of machine q35, at an address; write <address type='pci' "
                     "bus='0x00' slot='…'/>");
  }
  ports_.push_back(id);
  return *place;
}

}  // namespace faultline
