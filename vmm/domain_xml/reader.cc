#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "vmm/domain_xml/device_elements.h"
#include "vmm/domain_xml/document.h"
#include "vmm/domain_xml/domain.h"
#include "vmm/domain_xml/element.h"
#include "vmm/domain_xml/memory_elements.h"

namespace faultline {
namespace {

// The memory of all <cell>s, when there are some.
std::optional<Bytes> TakeNuma(Element numa, MachineConfig* machine) {
  std::vector<Element> cells = numa.TakeChildren("cell");
  numa.Finish();
  if (cells.empty()) return std::nullopt;
  Bytes sum;
  for (size_t i = 0; i < cells.size(); ++i) {
    Element& cell = cells[i];
    if (cell.TakeNumber("id").value_or(i) != i) cell.Refuse("write the cells in the order of their ids");
    const Bytes memory = cell.TakeSize("memory");
    if (i > 0 && memory != Bytes(0)) cell.Refuse("boot memory is in cell 0; write memory='0' and plug the rest");
    if (const auto cpus = cell.TakeAttribute("cpus"); cpus && i > 0) {
      cell.Refuse("all CPUs are in cell 0; leave 'cpus' out");
    }
    cell.Accept("memAccess", "private", "leave it out");
    cell.Accept("discard", "yes", "leave it out");
    cell.Finish();
    sum += memory;
  }
  machine->memory.nodes = static_cast<unsigned>(cells.size());
  return sum;
}

std::optional<Bytes> TakeCpu(Element cpu, MachineConfig* machine) {
  cpu.Accept("mode", "host-passthrough", "the guest gets the host's CPU; write 'host-passthrough'");
  cpu.Ignore({"check", "migratable", "match"});
  if (auto topology = cpu.TakeChild("topology")) {
    constexpr char kAdvice[] = "each vCPU is a socket; remove the element";
    for (const char* inner : {"dies", "clusters", "cores", "threads"}) topology->Accept(inner, "1", kAdvice);
    topology->Accept("sockets", std::to_string(machine->cpus), kAdvice);
    topology->Finish();
  }
  std::optional<Bytes> memory;
  if (auto numa = cpu.TakeChild("numa")) memory = TakeNuma(std::move(*numa), machine);
  cpu.Finish();
  return memory;
}

void TakeOs(Element os, MachineConfig* machine) {
  if (auto type = os.TakeChild("type")) {
    if (type->TakeText() != "hvm") type->Refuse("write 'hvm'");
    type->Accept("arch", "x86_64", "write 'x86_64'");
    const std::string name = type->TakeAttribute("machine").value_or("pc");
    if (name != "pc" && name != "q35" && !name.starts_with("pc-")) {
      type->Refuse("there is no machine '" + name.substr(0, 40) + "'; write 'pc' or 'q35'");
    }
    type->Finish();
  }
  for (const auto& [name, text] : {std::pair{"kernel", &machine->boot.kernel},
                                   {"initrd", &machine->boot.initrd},
                                   {"cmdline", &machine->boot.command_line}}) {
    if (auto child = os.TakeChild(name)) {
      *text = child->TakeText();
      child->Finish();
      if (machine->boot.kernel.empty() && !text->empty()) child->Refuse("it is for a <kernel>, which is missing");
    }
  }
  for (const char* firmware : {"loader", "nvram", "firmware"}) {
    if (auto child = os.TakeChild(firmware)) child->Refuse("there is no firmware; write <kernel>");
  }
  if (os.TakeAttribute("firmware")) os.Refuse("there is no firmware; write <kernel>");
  // Where a firmware would look: the kernel is booted directly.
  os.Ignore({"boot", "bootmenu", "bios"});
  os.Finish();
}

void TakeFeatures(Element features, MachineConfig* machine) {
  features.Ignore({"acpi", "apic", "pae"});
  if (auto vmport = features.TakeChild("vmport")) {
    vmport->Accept("state", "off", "write 'off'");
    vmport->Finish();
  }
  if (auto ioapic = features.TakeChild("ioapic")) {
    const std::string driver = ioapic->NeedAttribute("driver");
    if (driver != "kvm" && driver != "qemu") ioapic->Refuse("write driver='kvm', or 'qemu' for one outside KVM");
    machine->boot_irq_chip = driver == "kvm" ? IrqChip::kKernel : IrqChip::kSplit;
    ioapic->Finish();
  }
  features.Finish();
}

void TakePowerManagement(Element pm) {
  for (const char* state : {"suspend-to-mem", "suspend-to-disk"}) {
    auto child = pm.TakeChild(state);
    if (!child) continue;
    child->Accept("enabled", "no", "there is no sleep; write 'no'");
    child->Finish();
  }
  pm.Finish();
}

// What <on_reboot> says of the three that the domain may have.
bool TakeLifecycle(Element* domain) {
  if (auto off = domain->TakeChild("on_poweroff"); off && off->TakeText() != "destroy") {
    off->Refuse("a VM that powers off ends; write 'destroy'");
  }
  if (auto crash = domain->TakeChild("on_crash"); crash && crash->TakeText() != "destroy") {
    crash->Refuse("a VM that crashes ends; write 'destroy'");
  }
  auto reboot = domain->TakeChild("on_reboot");
  if (!reboot) return true;  // libvirt's default
  const std::string what = reboot->TakeText();
  if (what == "restart") return true;
  if (what == "destroy") return false;
  reboot->Refuse("'" + what.substr(0, 40) + "' is not supported; write 'restart' or 'destroy'");
}

// Of what WriteDomain puts there.
void TakeOwn(Element own, Domain* domain) {
  MachineConfig& machine = domain->machine;
  if (const auto policy = own.TakeAttribute("on-unplugged-access")) {
    machine.on_unplugged_access = own.Parsed(ParseUnpluggedPolicy, *policy);
  }
  if (const auto pages = own.TakeNumber("fault-around", kPagesPerLeaf)) {
    machine.memory.fault_around.pages = static_cast<unsigned>(*pages);
  }
  if (const auto mode = own.TakeAttribute("auto")) {
    machine.memory.automatic = own.Parsed(ParseAutoMemoryMode, *mode);
    if (machine.memory.automatic != AutoMemoryMode::kOff && !machine.balloon) {
      own.Refuse("'auto' needs to know what the guest has to spare; write <memballoon model='virtio'/>");
    }
  }
  if (const auto backing = own.TakeAttribute("backing"))
    machine.memory.backing = own.Parsed(ParseBackingSpec, *backing);
  machine.devices.debug_exit = own.TakeSwitch("debug-exit", false);
  for (Element& card : own.TakeChildren("faultline:interface")) {
    const uint64_t index = card.TakeNumber("index").value_or(0);
    if (index >= machine.devices.net_cards.size()) card.Refuse("there is no network card of that number");
    NetCardConfig& config = machine.devices.net_cards[index];
    if (config.tap) card.Refuse("that network card is on a tap; remove the element");
    config.user.restricted = card.TakeSwitch("restricted", false);
    for (Element& forward : card.TakeChildren("faultline:forward")) {
      config.user.host_forwards.push_back(forward.TakeText());
      forward.Finish();
    }
    card.Finish();
  }
  for (Element& memory : own.TakeChildren("faultline:memory")) {
    const std::string id = memory.NeedAttribute("id");
    const BackingSpec backing = memory.Parsed(ParseBackingSpec, memory.NeedAttribute("backing"));
    memory.Finish();
    bool found = false;
    for (PlugRequest& dimm : domain->dimms) {
      if (dimm.id == id) dimm.backing = backing;
      found |= dimm.id == id;
    }
    for (VirtioMemOptions& mem : machine.memory.virtio_mem) {
      if (mem.id == id) mem.backing = backing;
      found |= mem.id == id;
    }
    if (!found) memory.Refuse("no <memory> has that id as its <alias>");
  }
  own.Finish();
}

void TakeClock(Element clock) {
  clock.Accept("offset", "utc", "the clock runs in UTC; write 'utc'");
  clock.Ignore({"timer"});
  clock.Finish();
}

void TakeVcpus(Element vcpu, MachineConfig* machine) {
  vcpu.Accept("placement", "static", "write 'static'");
  if (vcpu.TakeAttribute("current")) vcpu.Refuse("CPUs cannot be plugged; leave 'current' out");
  machine->cpus = static_cast<unsigned>(vcpu.TakeTextNumber(256));
  vcpu.Finish();
}

Domain TakeDomain(Element domain) {
  Domain result;
  MachineConfig& machine = result.machine;
  if (domain.NeedAttribute("type") != "kvm") domain.Refuse("the accelerator is KVM; write type='kvm'");
  if (auto name = domain.TakeChild("name")) machine.name = name->TakeText();
  domain.Ignore({"id", "uuid", "title", "description", "resource"});
  result.restart_on_reboot = TakeLifecycle(&domain);
  if (auto vcpu = domain.TakeChild("vcpu")) TakeVcpus(std::move(*vcpu), &machine);
  if (auto os = domain.TakeChild("os")) TakeOs(std::move(*os), &machine);
  if (auto features = domain.TakeChild("features")) TakeFeatures(std::move(*features), &machine);
  if (auto clock = domain.TakeChild("clock")) TakeClock(std::move(*clock));
  if (auto pm = domain.TakeChild("pm")) TakePowerManagement(std::move(*pm));
  std::optional<Bytes> in_cells;
  if (auto cpu = domain.TakeChild("cpu")) in_cells = TakeCpu(std::move(*cpu), &machine);
  if (auto backing = domain.TakeChild("memoryBacking")) machine.memory.backing = TakeBacking(&*backing);
  if (auto devices = domain.TakeChild("devices")) TakeDevices(&*devices, &result);
  // What others keep there is theirs.
  if (auto metadata = domain.TakeChild("metadata")) {
    if (auto own = metadata->TakeChild("faultline:vm")) TakeOwn(std::move(*own), &result);
  }
  TakeMemorySizes(&domain, in_cells, &result);
  domain.Finish();
  if (machine.boot.kernel.empty() && (machine.devices.any() || machine.balloon || !machine.memory.virtio_mem.empty())) {
    domain.Refuse(
        "there is no firmware that could boot: add <kernel> to <os>, or remove all <devices> but the serial "
        "console and <memory model='dimm'> to run the built-in guest");
  }
  Validate(machine);
  return result;
}

}  // namespace

Domain ReadDomain(std::string_view xml) {
  pugi::xml_document document;
  return TakeDomain(Element(ParseDocument(xml, &document), "<domain>"));
}

}  // namespace faultline
