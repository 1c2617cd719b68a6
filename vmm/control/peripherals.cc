#include "vmm/control/peripherals.h"

#include <algorithm>
#include <utility>

#include "vmm/control/vm_control.h"

namespace faultline {

namespace {

void AddNamed(const std::string& id, std::string_view driver, std::vector<Peripheral>* list) {
  if (!id.empty()) list->push_back({id, std::string(driver)});
}

}  // namespace

std::string PeripheralPath(std::string_view id) { return std::string(kPeripherals) + "/" + std::string(id); }

std::string_view PeripheralId(std::string_view path) {
  if (path.starts_with(kPeripherals) && path.substr(kPeripherals.size()).starts_with('/')) {
    path.remove_prefix(kPeripherals.size() + 1);
  }
  return path;
}

std::vector<Peripheral> Peripherals(VmControl& vm) {
  std::vector<Peripheral> list = vm.surroundings().inventory.peripherals;
  const DeviceConfig devices = vm.Devices();
  for (const DiskConfig& disk : devices.disks) AddNamed(disk.id, kDiskDriver, &list);
  for (const NetCardConfig& card : devices.net_cards) AddNamed(card.id, kNetCardDriver, &list);
  for (const VirtioMemInfo& mem : vm.VirtioMemDevices()) list.push_back({mem.id, "virtio-mem-pci"});
  if (vm.config().balloon) list.push_back({vm.config().balloon->id, "virtio-balloon-pci"});
  for (const MemoryDeviceInfo& dimm : vm.MemoryDevices()) list.push_back({dimm.id, "pc-dimm"});
  return list;
}

std::optional<std::string> DriverOf(std::string_view id, VmControl& vm) {
  std::vector<Peripheral> list = Peripherals(vm);
  const auto it = std::ranges::find(list, id, &Peripheral::id);
  if (it == list.end()) return std::nullopt;
  return std::move(it->driver);
}

}  // namespace faultline
