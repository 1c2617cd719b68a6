#include <algorithm>
#include <array>
#include <cstdio>
#include <pugixml.hpp>
#include <sstream>
#include <string>

#include "guestmem/error.h"
#include "guestmem/hex.h"
#include "vmm/domain_xml/domain.h"
#include "vmm/domain_xml/element.h"
#include "vmm/domain_xml/xml_text.h"

namespace faultline {
namespace {

using Node = pugi::xml_node;

const std::string& Checked(const std::string& text, const char* where) {
  if (IsXmlText(text)) return text;
  throw UsageError("'" + text.substr(0, 60) + "' cannot stand in the domain's <" + where +
                   ">: XML has no control characters and no broken UTF-8, and spaces at the ends are lost; rename it");
}

void Set(Node node, const char* name, const std::string& value) {
  node.append_attribute(name) = Checked(value, node.name()).c_str();
}

Node AddText(Node parent, const char* name, const std::string& text) {
  Node node = parent.append_child(name);
  node.text() = Checked(text, name).c_str();
  return node;
}

Node AddSize(Node parent, const char* name, Bytes size) {
  Node node = AddText(parent, name, std::to_string(size / 1_KiB));
  Set(node, "unit", "KiB");
  return node;
}

Node AddEmpty(Node parent, const char* name, const char* attribute, const std::string& value) {
  Node node = parent.append_child(name);
  Set(node, attribute, value);
  return node;
}

void AddAddress(Node device, const std::optional<PciPlace>& place) {
  if (!place) return;
  Node address = AddEmpty(device, "address", "type", "pci");
  Set(address, "domain", "0x0000");
  Set(address, "bus", Hex(place->bus));
  Set(address, "slot", Hex(place->slot));
  Set(address, "function", Hex(place->function));
}

// libvirt's schema says what an alias may be.
void AddAlias(Node memory, const std::string& id) {
  const bool good = !id.empty() && std::ranges::all_of(id, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
  if (!good) {
    throw UsageError("memory '" + id.substr(0, 60) +
                     "' cannot have that id in a domain, which takes letters, digits, '_', '-' and '.': plug it under "
                     "another");
  }
  AddEmpty(memory, "alias", "name", id);
}

// Sum of what is plugged: DIMMs and, as libvirt counts, all that virtio-mem can become.
Bytes Plugged(const Domain& domain) {
  Bytes sum;
  for (const PlugRequest& dimm : domain.dimms) sum += dimm.size;
  for (const VirtioMemOptions& mem : domain.machine.memory.virtio_mem) sum += mem.size;
  return sum;
}

bool HasWords(const BackingSpec& backing) { return backing.kind != BackingKind::kFile; }

void AddOwnBackings(Node own, const Domain& domain) {
  const auto add = [&](const std::string& id, const std::optional<BackingSpec>& backing) {
    if (!backing || ToString(*backing) == ToString(domain.machine.memory.backing)) return;
    Set(AddEmpty(own, "faultline:memory", "id", id), "backing", ToString(*backing));
  };
  for (const PlugRequest& dimm : domain.dimms) add(dimm.id, dimm.backing);
  for (const VirtioMemOptions& mem : domain.machine.memory.virtio_mem) add(mem.id, mem.backing);
}

// In our namespace: what libvirt has no element for.
void AddOwn(Node root, const Domain& domain) {
  const MachineConfig& machine = domain.machine;
  Node before = root.append_child(pugi::node_comment);
  Node metadata = root.append_child("metadata");
  Node own = AddEmpty(metadata, "faultline:vm", "xmlns:faultline", kMetadataNamespace);
  if (machine.memory.automatic != AutoMemoryMode::kOff) {
    Set(own, "auto", std::string(ToString(machine.memory.automatic)));
  }
  if (machine.on_unplugged_access != UnpluggedPolicy::kOnes) {
    Set(own, "on-unplugged-access", std::string(ToString(machine.on_unplugged_access)));
  }
  if (machine.memory.fault_around.pages != FaultAround().pages) {
    Set(own, "fault-around", std::to_string(machine.memory.fault_around.pages));
  }
  if (!HasWords(machine.memory.backing)) Set(own, "backing", ToString(machine.memory.backing));
  if (machine.devices.debug_exit) Set(own, "debug-exit", "on");
  for (size_t i = 0; i < machine.devices.net_cards.size(); ++i) {
    const SlirpConfig& user = machine.devices.net_cards[i].user;
    if (!user.restricted && user.host_forwards.empty()) continue;
    Node card = AddEmpty(own, "faultline:interface", "index", std::to_string(i));
    if (user.restricted) Set(card, "restricted", "on");
    for (const std::string& forward : user.host_forwards) AddText(card, "faultline:forward", forward);
  }
  AddOwnBackings(own, domain);
  if (own.first_child() || own.last_attribute() != own.first_attribute()) {
    before.set_value(
        " What stands in faultline:vm has no element in libvirt, which keeps it only; faultline run does what it "
        "says ");
  } else {
    root.remove_child(before);
    root.remove_child(metadata);
  }
}

void AddMemory(Node root, const Domain& domain) {
  const MachineConfig& machine = domain.machine;
  const size_t elastic = machine.memory.virtio_mem.size();
  const Bytes all = machine.memory.boot + Plugged(domain);
  if (machine.memory.max > machine.memory.boot || elastic > 0) {
    Bytes max = std::max(machine.memory.max, machine.memory.boot);
    for (const VirtioMemOptions& mem : machine.memory.virtio_mem) max += mem.size;
    // libvirt wants at least one.
    const size_t slots = machine.memory.slots > 0 ? machine.memory.slots : elastic;
    Set(AddSize(root, "maxMemory", max), "slots", std::to_string(slots));
  }
  AddSize(root, "memory", all);
  Bytes current = all;
  for (const VirtioMemOptions& mem : machine.memory.virtio_mem) current -= mem.size - mem.requested;
  if (machine.balloon) current -= std::min(current, machine.balloon->target);
  AddSize(root, "currentMemory", current);
  if (machine.memory.backing.kind == BackingKind::kMemfd) {
    AddEmpty(root.append_child("memoryBacking"), "source", "type", "memfd");
  } else if (machine.memory.backing.kind == BackingKind::kHugetlb) {
    root.append_child("memoryBacking").append_child("hugepages");
  }
}

void AddOs(Node root, const MachineConfig& machine) {
  Node os = root.append_child("os");
  Node type = AddText(os, "type", "hvm");
  Set(type, "arch", "x86_64");
  Set(type, "machine", machine.devices.root_ports.empty() ? "pc" : "q35");
  for (const auto& [name, text] : {std::pair{"kernel", &machine.boot.kernel},
                                   {"initrd", &machine.boot.initrd},
                                   {"cmdline", &machine.boot.command_line}}) {
    if (!text->empty()) AddText(os, name, *text);
  }
  Node features = root.append_child("features");
  features.append_child("acpi");
  if (machine.irq_chip() == IrqChip::kKernel) AddEmpty(features, "ioapic", "driver", "kvm");
}

void AddCpu(Node root, const MachineConfig& machine) {
  Node cpu = AddEmpty(root, "cpu", "mode", "host-passthrough");
  Node numa = cpu.append_child("numa");
  for (unsigned i = 0; i < machine.memory.nodes; ++i) {
    Node cell = AddEmpty(numa, "cell", "id", std::to_string(i));
    if (i == 0) Set(cell, "cpus", machine.cpus == 1 ? "0" : "0-" + std::to_string(machine.cpus - 1));
    Set(cell, "memory", std::to_string(i == 0 ? machine.memory.boot / 1_KiB : 0));
    Set(cell, "unit", "KiB");
  }
}

std::string MacText(const MacAddress& mac) {
  std::array<char, 18> text{};
  std::snprintf(text.data(), text.size(), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
                mac[5]);
  return text.data();
}

// vda, vdb, … vdz, vdaa, …
std::string DiskName(size_t index) {
  std::string name;
  for (size_t rest = index + 1; rest > 0; rest = (rest - 1) / 26) {
    name.insert(name.begin(), static_cast<char>('a' + (rest - 1) % 26));
  }
  return "vd" + name;
}

void AddDisk(Node devices, const DiskConfig& config, size_t index) {
  Node disk = devices.append_child("disk");
  const bool block = config.path.starts_with("/dev/");
  Set(disk, "type", block ? "block" : "file");
  Set(disk, "device", "disk");
  Set(AddEmpty(disk, "driver", "name", "qemu"), "type", "raw");
  AddEmpty(disk, "source", block ? "dev" : "file", config.path);
  Set(AddEmpty(disk, "target", "dev", DiskName(index)), "bus", "virtio");
  if (config.read_only) disk.append_child("readonly");
  if (!config.serial.empty()) AddText(disk, "serial", config.serial);
  AddAddress(disk, config.pci_place);
}

void AddNetCard(Node devices, const NetCardConfig& config, size_t index) {
  Node card = AddEmpty(devices, "interface", "type", config.tap ? "ethernet" : "user");
  // Without one, the machine counts up from its default; libvirt would make one up.
  MacAddress counted = NetConfig().mac;
  counted.back() = static_cast<uint8_t>(counted.back() + index);
  AddEmpty(card, "mac", "address", MacText(config.mac.value_or(counted)));
  if (config.tap) Set(AddEmpty(card, "target", "dev", *config.tap), "managed", "no");
  AddEmpty(card, "model", "type", "virtio");
  AddAddress(card, config.pci_place);
}

void AddCharacterDevice(Node device, const std::string& where) {
  if (where.starts_with("pty")) {
    Set(device, "type", "pty");
  } else if (where == "stdio") {
    Set(device, "type", "stdio");
  } else if (where.starts_with("socket:")) {
    Set(device, "type", "unix");
    Node source = AddEmpty(device, "source", "mode", "bind");
    Set(source, "path", where.substr(7));
  } else {
    Set(device, "type", "null");
  }
}

void AddMemoryDevices(Node devices, const Domain& domain) {
  for (const PlugRequest& dimm : domain.dimms) {
    Node memory = AddEmpty(devices, "memory", "model", "dimm");
    Node target = memory.append_child("target");
    AddSize(target, "size", dimm.size);
    AddText(target, "node", std::to_string(dimm.node));
    AddAlias(memory, dimm.id);
    Node address = AddEmpty(memory, "address", "type", "dimm");
    if (dimm.slot) Set(address, "slot", std::to_string(*dimm.slot));
    if (dimm.address) Set(address, "base", Hex(dimm.address->value));
  }
  for (const VirtioMemOptions& mem : domain.machine.memory.virtio_mem) {
    Node memory = AddEmpty(devices, "memory", "model", "virtio-mem");
    Node target = memory.append_child("target");
    AddSize(target, "size", mem.size);
    AddText(target, "node", "0");
    AddSize(target, "block", mem.block_size());
    AddSize(target, "requested", mem.requested);
    AddAlias(memory, mem.id);
    AddAddress(memory, mem.pci_place);
  }
}

void AddControllers(Node devices, const DeviceConfig& config) {
  Set(AddEmpty(devices, "controller", "type", "usb"), "model", "none");
  for (size_t i = 0; i < config.root_ports.size(); ++i) {
    Node port = AddEmpty(devices, "controller", "type", "pci");
    Set(port, "index", std::to_string(i + 1));
    Set(port, "model", "pcie-root-port");
    AddAddress(port, config.root_ports[i]);
  }
}

// The serial port, and a virtio console, which is the second of the consoles to `virsh console`.
void AddConsoles(Node devices, const Domain& domain) {
  const DeviceConfig& config = domain.machine.devices;
  AddCharacterDevice(devices.append_child("serial"), domain.console);
  if (!config.console) return;
  Node first = devices.append_child("console");
  AddCharacterDevice(first, domain.console);
  AddEmpty(first, "target", "type", "serial");
  AddEmpty(AddEmpty(devices, "console", "type", "pty"), "target", "type", "virtio");
  if (!config.console_place) return;
  Node controller = AddEmpty(devices, "controller", "type", "virtio-serial");
  Set(controller, "index", "0");
  AddAddress(controller, config.console_place);
}

void AddDevices(Node root, const Domain& domain, const std::string& emulator) {
  const MachineConfig& machine = domain.machine;
  Node devices = root.append_child("devices");
  AddText(devices, "emulator", emulator);
  for (size_t i = 0; i < machine.devices.disks.size(); ++i) AddDisk(devices, machine.devices.disks[i], i);
  for (size_t i = 0; i < machine.devices.net_cards.size(); ++i) AddNetCard(devices, machine.devices.net_cards[i], i);
  AddConsoles(devices, domain);
  AddControllers(devices, machine.devices);
  Node balloon = AddEmpty(devices, "memballoon", "model", machine.balloon ? "virtio" : "none");
  if (machine.balloon) {
    Set(balloon, "autodeflate", machine.balloon->deflate_on_oom ? "on" : "off");
    Set(balloon, "freePageReporting", machine.balloon->reporting ? "on" : "off");
    AddAddress(balloon, machine.balloon->pci_place);
  }
  if (machine.devices.rng) {
    Node rng = AddEmpty(devices, "rng", "model", "virtio");
    Set(AddText(rng, "backend", "/dev/urandom"), "model", "random");
    AddAddress(rng, machine.devices.rng_place);
  }
  Set(AddEmpty(devices, "audio", "id", "1"), "type", "none");
  AddMemoryDevices(devices, domain);
}

}  // namespace

std::string WriteDomain(const Domain& domain, const std::string& emulator) {
  pugi::xml_document document;
  Node root = AddEmpty(document, "domain", "type", "kvm");
  AddText(root, "name", domain.machine.name);
  AddOwn(root, domain);
  AddMemory(root, domain);
  AddText(root, "vcpu", std::to_string(domain.machine.cpus));
  AddOs(root, domain.machine);
  AddCpu(root, domain.machine);
  AddEmpty(root, "clock", "offset", "utc");
  AddText(root, "on_poweroff", "destroy");
  AddText(root, "on_reboot", domain.restart_on_reboot ? "restart" : "destroy");
  AddText(root, "on_crash", "destroy");
  AddDevices(root, domain, emulator);
  std::ostringstream text;
  document.save(text, "  ", pugi::format_indent | pugi::format_no_declaration);
  return text.str();
}

}  // namespace faultline
