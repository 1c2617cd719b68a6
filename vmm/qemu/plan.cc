#include "vmm/qemu/plan.h"

#include <algorithm>
#include <utility>

#include "guestmem/error.h"
#include "vmm/control/named_descriptors.h"
#include "vmm/control/object_types.h"
#include "vmm/qemu/backend_parts.h"
#include "vmm/qemu/command_line.h"
#include "vmm/qemu/device_parts.h"

namespace faultline {
namespace {

void TakeMachine(QemuCommandLine* line, QemuPlan* plan, BackendParts* parts, const MachineType** type) {
  OptionValues fallback("-machine", "pc", "type");
  OptionValues& values = line->machine ? *line->machine : fallback;
  const std::string name = values.Need("type");
  for (OptionValues* source : {&values, line->accel ? &*line->accel : nullptr}) {
    if (source == nullptr) continue;
    const auto accel = source->Take("accel");
    if (accel && accel->find("kvm") == std::string::npos) {
      throw UsageError(source->option() + ": the accelerator is KVM; write <domain type='kvm'>");
    }
  }
  if (line->accel) line->accel->Finish();
  if (name == "none") {
    plan->probe = true;
    return;
  }
  *type = FindMachineType(name);
  if (*type == nullptr) {
    throw UsageError("-machine: there is no machine '" + name.substr(0, 60) + "'; there are pc and q35");
  }
  values.Accept("usb", "off");
  values.Accept("vmport", "off");
  values.Accept("smm", "off");
  values.Accept("graphics", "off");
  values.Accept("hpet", "off");
  values.Accept("acpi", "on");
  values.Ignore("dump-guest-core");  // guest memory is never in a core dump
  values.Ignore("mem-merge");
  if (const auto chip = values.Take("kernel_irqchip")) {
    if (*chip != "split" && *chip != "on") {
      throw UsageError("-machine: 'kernel_irqchip=" + chip->substr(0, 20) +
                       "' is not supported; write <ioapic driver='kvm'/>");
    }
    plan->machine.boot_irq_chip = *chip == "on" ? IrqChip::kKernel : IrqChip::kSplit;
  }
  if (const auto backend = values.Take("memory-backend")) parts->UseForBoot(*backend);
  values.Finish();
}

void TakeCpus(QemuCommandLine* line, QemuPlan* plan) {
  if (line->cpu) {
    if (const std::string model = line->cpu->Need("model"); model != "host") {
      throw UsageError("-cpu: the guest gets the host's CPU, not '" + model.substr(0, 40) +
                       "'; write <cpu mode='host-passthrough'/>");
    }
    line->cpu->Ignore("migratable");
    line->cpu->Finish();
  }
  if (!line->smp) return;
  OptionValues& smp = *line->smp;
  const uint64_t cpus = smp.TakeNumber("cpus").value_or(1);
  if (cpus > 256) throw UsageError("-smp: " + std::to_string(cpus) + " CPUs are too many; ask for 256 at most");
  if (smp.TakeNumber("maxcpus").value_or(cpus) != cpus) {
    throw UsageError("-smp: CPUs cannot be plugged; leave 'current' out of <vcpu> or make it the same number");
  }
  // Guests see one socket for each CPU.
  for (const char* key : {"sockets", "dies", "clusters", "cores", "threads"}) smp.Ignore(key);
  smp.Finish();
  plan->machine.cpus = static_cast<unsigned>(cpus);
}

void TakeMemory(QemuCommandLine* line, QemuPlan* plan) {
  MemoryConfig& memory = plan->machine.memory;
  memory.boot = 128_MiB;  // QEMU's default
  if (!line->memory) return;
  OptionValues& values = *line->memory;
  memory.boot = values.TakeSize("size", 1_MiB).value_or(memory.boot);
  memory.max = values.TakeSize("maxmem", 1_MiB).value_or(Bytes(0));
  if (const uint64_t slots = values.TakeNumber("slots").value_or(0); slots <= 256) {
    memory.slots = static_cast<unsigned>(slots);
  } else {
    throw UsageError("-m: " + std::to_string(slots) + " slots are too many; write 256 at most in <maxMemory>");
  }
  if (memory.max == memory.boot) memory.slots = 0;  // slots that nothing fits into
  values.Finish();
}

// QEMU's maxmem holds virtio-mem too; here each such device has a place of its own.
void LeaveMaxToDimms(MemoryConfig* memory) {
  if (memory->virtio_mem.empty() || (memory->max.value != 0 && memory->max < memory->boot)) return;
  Bytes room = std::max(memory->max, memory->boot) - memory->boot;
  for (const VirtioMemOptions& mem : memory->virtio_mem) {
    if (mem.size > room) {
      throw UsageError("-m: maxmem has no room for virtio-mem '" + mem.id + "': write more into <maxMemory>");
    }
    room = room - mem.size;
  }
  memory->max = memory->boot + room;
  if (room.value == 0) memory->slots = 0;  // slots that nothing fits into
}

void TakeNuma(QemuCommandLine* line, BackendParts* parts) {
  for (OptionValues& values : line->numa) {
    if (values.Need("type") != "node") throw UsageError("-numa: only nodes are supported, of which there is one");
    if (values.TakeNumber("nodeid").value_or(0) != 0) {
      throw UsageError("-numa: there is one node; keep one <cell> in <numa>");
    }
    values.Ignore("cpus");  // all of them
    if (const auto backend = values.Take("memdev")) parts->UseForBoot(*backend);
    values.Finish();
  }
}

void TakeBoot(QemuCommandLine* line, QemuPlan* plan) {
  BootConfig& boot = plan->machine.boot;
  boot.kernel = line->kernel.value_or("");
  boot.initrd = line->initrd.value_or("");
  boot.command_line = line->append.value_or("");
  if (!boot.kernel.empty()) return;
  if (!boot.initrd.empty()) throw UsageError("-initrd needs -kernel: add <kernel> to <os>");
  if (!boot.command_line.empty()) throw UsageError("-append needs -kernel: add <kernel> to <os>");
  if (plan->machine.devices.any()) {
    throw UsageError(
        "there is no firmware that could boot from a disk or a network: add <kernel> to <os>, or remove all devices "
        "but "
        "the serial console to run the built-in guest");
  }
}

void TakeCardBackends(QemuCommandLine* line, CardBackends* cards) {
  for (OptionValues& values : line->blockdevs) cards->blocks.Add(&values);
  for (OptionValues& values : line->netdevs) cards->nets.Add(&values, NamedDescriptors::TakeInherited);
}

void TakeMonitors(QemuCommandLine* line, QemuPlan* plan, BackendParts* parts) {
  for (OptionValues& values : line->monitors) {
    const std::string id = values.Need("chardev");
    values.Accept("mode", "control");
    values.Ignore("id");
    values.Ignore("pretty");
    values.Finish();
    CharacterPlan chardev = parts->TakeChardev("-mon", id);
    if (chardev.kind != CharacterPlan::Kind::kSocket)
      throw UsageError("-mon: the monitor's chardev '" + id + "' is no socket");
    plan->monitors.push_back(std::move(chardev));
  }
  for (const std::string& address : line->monitor_addresses) {
    constexpr std::string_view kUnix = "unix:";
    if (!address.starts_with(kUnix)) throw UsageError("-qmp: write unix:PATH,server=on,wait=off");
    OptionValues values("-qmp", std::string_view(address).substr(kUnix.size()), "path");
    plan->monitors.push_back(SocketPlan(&values, "compat_monitor" + std::to_string(plan->monitors.size())));
  }
}

}  // namespace

QemuPlan PlanFromCommandLine(std::span<const std::string> arguments) {
  QemuCommandLine line = CollectOptions(arguments);
  QemuPlan plan;
  plan.daemonize = line.daemonize;
  plan.pid_file = line.pid_file.value_or("");
  plan.stay_after_shutdown = line.no_shutdown;
  plan.end_on_reboot = line.no_reboot;
  plan.machine.name = line.name.empty() ? "vm" : line.name;
  plan.machine.start_paused = line.paused;
  plan.machine.incoming = line.incoming;
  if (line.incoming && !line.paused) throw UsageError("-incoming needs -S: let the VM go on with cont");

  BackendParts parts(&line);
  const MachineType* type = nullptr;
  TakeMachine(&line, &plan, &parts, &type);
  TakeMonitors(&line, &plan, &parts);
  if (plan.monitors.empty()) throw UsageError("no monitor: add -qmp unix:PATH,server=on,wait=off");
  if (plan.probe) return plan;
  TakeCpus(&line, &plan);
  TakeMemory(&line, &plan);
  TakeNuma(&line, &parts);
  parts.TakeBootMemory(&plan.machine.memory);
  plan.cards.places = PciPlaces(*type);
  TakeCardBackends(&line, &plan.cards);
  for (OptionValues& device : line.devices) TakeDevice(&device, &parts, &plan);
  LeaveMaxToDimms(&plan.machine.memory);
  parts.Finish();
  plan.cards.blocks.Finish();
  plan.cards.nets.Finish();
  plan.machine.devices.hotplug = true;
  TakeBoot(&line, &plan);
  Validate(plan.machine);
  return plan;
}

}  // namespace faultline
