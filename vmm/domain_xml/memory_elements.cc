#include "vmm/domain_xml/memory_elements.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "devices/memory_hotplug.h"

namespace faultline {
namespace {

void TakeVirtioMem(Element* memory, Element* target, const PciControllers& pci, std::string id,
                   MachineConfig* machine) {
  VirtioMemOptions options;
  options.id = std::move(id);
  if (auto size = target->TakeChild("size")) options.size = size->TakeSize();
  if (auto block = target->TakeChild("block")) options.block = block->TakeSize();
  if (auto requested = target->TakeChild("requested")) options.requested = requested->TakeSize();
  target->Ignore({"current"});
  if (auto node = target->TakeChild("node"); node && node->TakeTextNumber() != 0) node->Refuse("it is in node 0");
  if (auto source = memory->TakeChild("source")) options.backing = TakeBacking(&*source);
  options.pci_place = pci.TakeAddress(memory);
  machine->memory.virtio_mem.push_back(std::move(options));
}

void TakeDimm(Element* memory, Element* target, std::string id, Domain* domain) {
  PlugRequest request;
  request.id = std::move(id);
  request.hotplugged = false;
  if (auto size = target->TakeChild("size")) {
    request.size = size->TakeSize();
    if (request.size == Bytes(0) || !IsAligned(request.size, kPlugGranule)) {
      size->Refuse("memory is plugged in multiples of 2 MiB; round it");
    }
  } else {
    target->Refuse("<size> is missing");
  }
  if (auto source = memory->TakeChild("source")) request.backing = TakeBacking(&*source);
  if (auto address = memory->TakeChild("address")) {
    address->Accept("type", "dimm", "write 'dimm'");
    if (const auto slot = address->TakeNumber("slot", MemoryHotplug::kMaxSlots - 1)) {
      request.slot = static_cast<unsigned>(*slot);
    }
    // libvirt takes 0 for none.
    if (const auto base = address->TakeNumber("base"); base && *base != 0) request.address = Gpa(*base);
    address->Finish();
  }
  if (auto node = target->TakeChild("node")) {
    const uint64_t number = node->TakeTextNumber();
    if (number >= domain->machine.memory.nodes) {
      node->Refuse("there is no such node; give it a <cell> in <cpu><numa>, or write 0");
    }
    request.node = static_cast<unsigned>(number);
  }
  domain->dimms.push_back(std::move(request));
}

void TakeMemoryDevice(Element memory, const PciControllers& pci, Domain* domain) {
  const std::string model = memory.NeedAttribute("model");
  std::optional<std::string> id;
  if (auto alias = memory.TakeChild("alias")) id = alias->TakeAttribute("name");
  auto target = memory.TakeChild("target");
  if (!target) memory.Refuse("<target> is missing");
  if (model == "dimm") {
    TakeDimm(&memory, &*target, id.value_or("dimm" + std::to_string(domain->dimms.size())), domain);
  } else if (model == "virtio-mem") {
    const size_t number = domain->machine.memory.virtio_mem.size();
    TakeVirtioMem(&memory, &*target, pci, id.value_or("vmem" + std::to_string(number)), &domain->machine);
  } else {
    memory.Refuse("model='" + model.substr(0, 40) + "' is not supported; write 'dimm' or 'virtio-mem'");
  }
  target->Finish();
  memory.Accept("access", "private", "memory is the guest's alone; leave it out");
  memory.Accept("discard", "yes", "leave it out");
  memory.Finish();
}

void TakeBalloon(Element balloon, const PciControllers& pci, MachineConfig* machine) {
  const std::string model = balloon.TakeAttribute("model").value_or("virtio");
  if (model != "virtio" && model != "none") {
    balloon.Refuse("model='" + model.substr(0, 40) + "' is not supported; write 'virtio', or 'none'");
  }
  if (model == "virtio") {
    BalloonOptions options;
    options.deflate_on_oom = balloon.TakeSwitch("autodeflate", false);
    options.reporting = balloon.TakeSwitch("freePageReporting", false);
    options.pci_place = pci.TakeAddress(&balloon);
    balloon.Ignore({"stats"});
    machine->balloon = std::move(options);
  }
  balloon.Ignore({"alias"});
  balloon.Finish();
}

}  // namespace

BackingSpec TakeBacking(Element* backing) {
  BackingSpec spec;
  const auto take_page = [&spec](Element* element, Bytes page) {
    if (page == 2_MiB) {
      spec.kind = BackingKind::kHugetlb;
    } else if (page != 4_KiB) {
      element->Refuse("pages are of 4 KiB or 2 MiB");
    }
  };
  if (auto source = backing->TakeChild("source")) {
    const std::string type = source->TakeAttribute("type").value_or("anonymous");
    if (type == "memfd") {
      spec.kind = BackingKind::kMemfd;
    } else if (type != "anonymous") {
      source->Refuse("type='" + type.substr(0, 40) + "' is not supported; write 'anonymous' or 'memfd'");
    }
    source->Finish();
  }
  if (auto pages = backing->TakeChild("hugepages")) {
    spec.kind = BackingKind::kHugetlb;
    if (auto page = pages->TakeChild("page")) {
      if (page->TakeSize("size") != 2_MiB) page->Refuse("huge pages are of 2 MiB");
      page->Ignore({"nodeset"});
      page->Finish();
    }
    pages->Finish();
  }
  if (auto size = backing->TakeChild("pagesize")) {
    take_page(&*size, size->TakeSize());
    size->Finish();
  }
  if (auto access = backing->TakeChild("access")) {
    access->Accept("mode", "private", "memory is the guest's alone; remove the element");
    access->Finish();
  }
  backing->Ignore({"nosharepages", "discard"});
  backing->Finish();
  return spec;
}

void TakeMemoryDevices(Element* devices, const PciControllers& pci, Domain* domain) {
  if (auto balloon = devices->TakeChild("memballoon")) TakeBalloon(std::move(*balloon), pci, &domain->machine);
  for (Element& memory : devices->TakeChildren("memory")) TakeMemoryDevice(std::move(memory), pci, domain);
}

void TakeMemorySizes(Element* domain, std::optional<Bytes> in_cells, Domain* result) {
  MemoryConfig& memory = result->machine.memory;
  auto size = domain->TakeChild("memory");
  if (!size) domain->Refuse("<memory> is missing");
  const Bytes all = size->TakeSize();
  size->Accept("dumpCore", "on", "leave it out");
  size->Finish();
  Bytes dimms;
  for (const PlugRequest& dimm : result->dimms) dimms += dimm.size;
  Bytes elastic;
  Bytes requested;
  for (const VirtioMemOptions& mem : memory.virtio_mem) {
    elastic += mem.size;
    requested += mem.requested;
  }
  if (!in_cells && dimms + elastic > all) size->Refuse("it is less than the <memory> devices have together");
  // The size is that of boot memory and of all that is plugged; libvirt sees to that where there are cells.
  memory.boot = in_cells ? *in_cells : all - dimms - elastic;
  if (auto max = domain->TakeChild("maxMemory")) {
    memory.slots = static_cast<unsigned>(max->TakeNumber("slots", MemoryHotplug::kMaxSlots).value_or(0));
    memory.max = max->TakeSize();
    max->Finish();
    // What virtio-mem can grow to counts there, and not for us.
    memory.max -= std::min(memory.max, elastic);
    if (memory.max <= memory.boot) {
      memory.max = Bytes(0);
      memory.slots = 0;
    }
  }
  auto current = domain->TakeChild("currentMemory");
  if (!current) return;
  const Bytes wanted = current->TakeSize();
  current->Finish();
  const Bytes there = memory.boot + dimms + requested;
  // Without a balloon the guest has all there is, as with libvirt.
  if (result->machine.balloon && wanted < there) {
    result->machine.balloon->target = AlignDown(there - wanted, kPageSize);
  }
}

}  // namespace faultline
