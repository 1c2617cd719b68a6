// x-faultline-xml: the VM as libvirt's domain XML.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "guestmem/error.h"
#include "vmm/control/arguments.h"
#include "vmm/control/commands/commands.h"
#include "vmm/control/vm_control.h"
#include "vmm/domain_xml/domain.h"

namespace faultline {

using nlohmann::json;

namespace {

constexpr std::string_view kSocket = "socket:";

// The emulator beside this program, which is installed with it.
std::string Emulator() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return (error ? std::filesystem::path("/usr/bin") : self.parent_path()) / "qemu-system-faultline";
}

// For whoever reads the XML, from another directory.
void MakeAbsolute(std::string* path) {
  if (!path->empty()) *path = std::filesystem::absolute(*path).lexically_normal();
}

void MakePathsAbsolute(Domain* domain) {
  MachineConfig& machine = domain->machine;
  MakeAbsolute(&machine.boot.kernel);
  MakeAbsolute(&machine.boot.initrd);
  MakeAbsolute(&machine.memory.backing.path);
  for (DiskConfig& disk : machine.devices.disks) MakeAbsolute(&disk.path);
  for (PlugRequest& dimm : domain->dimms) MakeAbsolute(&dimm.backing->path);
  if (domain->console.starts_with(kSocket)) {
    std::string path = domain->console.substr(kSocket.size());
    MakeAbsolute(&path);
    domain->console = std::string(kSocket) + path;
  }
}

// As much as is plugged and asked of the guest by now.
Domain Describe(VmControl& vm, bool restart_on_reboot) {
  Domain domain;
  domain.machine = vm.config();
  domain.machine.memory.automatic = vm.auto_memory().mode();
  domain.console = vm.surroundings().console;
  domain.restart_on_reboot = restart_on_reboot;
  for (const MemoryDeviceInfo& device : vm.MemoryDevices()) {
    domain.dimms.push_back({.id = device.id,
                            .size = device.gpa.size,
                            .slot = device.slot,
                            .address = device.gpa.start,
                            .node = device.node,
                            .backing = device.backing,
                            .source = nullptr});
  }
  for (const VirtioMemInfo& info : vm.VirtioMemDevices()) {
    for (VirtioMemOptions& mem : domain.machine.memory.virtio_mem) {
      if (mem.id == info.id) mem.requested = info.state.requested;
    }
  }
  if (domain.machine.balloon && vm.balloon() != nullptr) domain.machine.balloon->target = vm.balloon()->state().target;
  MakePathsAbsolute(&domain);
  return domain;
}

}  // namespace

json FaultlineXml(const json& arguments, VmControl& vm) {
  Arguments(arguments).Finish();
  const std::optional<bool> restart_on_reboot = vm.surroundings().restart_on_reboot;
  if (!restart_on_reboot) {
    throw UsageError("VM '" + vm.config().name +
                     "' was started by another program, which knows its domain: use `virsh "
                     "dumpxml`");
  }
  return {{"xml", WriteDomain(Describe(vm, *restart_on_reboot), Emulator())}};
}

}  // namespace faultline
