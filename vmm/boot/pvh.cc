#include <vector>

#include "guestmem/error.h"
#include "vmm/boot/kernel_formats.h"
#include "vmm/boot/linux_params.h"

namespace faultline {
namespace {

constexpr size_t kCommandLineMax = 2047;  // what Linux takes; the protocol sets no limit
constexpr uint32_t kMagic = 0x336ec578;   // "xEn3", its high bit set
constexpr uint32_t kVersion = 1;

// Xen public/arch-x86/hvm/start_info.h.
struct StartInfo {
  uint32_t magic;
  uint32_t version;
  uint32_t flags;
  uint32_t modules;
  uint64_t module_list;
  uint64_t command_line;
  uint64_t rsdp;
  uint64_t memory_map;
  uint32_t memory_map_entries;
  uint32_t reserved;
};

struct Module {
  uint64_t address;
  uint64_t size;
  uint64_t command_line;
  uint64_t reserved;
};

struct MapEntry {
  uint64_t address;
  uint64_t size;
  uint32_t type;
  uint32_t reserved;
};

template <class T>
Gpa PlaceArray(BootMemory& memory, std::span<const T> values) {
  const Gpa at = memory.ClaimLow(Bytes(values.size_bytes()));
  memory.Write(at, std::as_bytes(values));
  return at;
}

}  // namespace

LoadedKernel LoadPvh(const BootFiles& files, const ElfImage& elf, BootMemory& memory) {
  LoadedKernel loaded;
  loaded.format = KernelFormat::kPvh;
  loaded.image = elf.extent();
  loaded.command_line = files.command_line;
  if (!elf.pvh_entry || !loaded.image.Contains(*elf.pvh_entry) || loaded.image.end() > kBelow4GiB) {
    throw Error(files.kernel.name() + " has a PVH note whose entry lies outside of what it loads below 4 GiB; it is " +
                "damaged: copy it again");
  }
  CheckCommandLine(files, kCommandLineMax);
  LoadElf(files.kernel, elf, memory);
  loaded.initrd = PlaceInitrd(files, kBelow4GiB, memory);

  StartInfo info{};
  info.magic = kMagic;
  info.version = kVersion;
  info.command_line = PlaceString(memory, files.command_line).value;
  info.rsdp = files.rsdp.value;
  if (loaded.initrd.size.value != 0) {
    const Module module{loaded.initrd.start.value, loaded.initrd.size.value, 0, 0};
    info.modules = 1;
    info.module_list = PlaceArray(memory, std::span(&module, 1)).value;
  }
  std::vector<MapEntry> map;
  for (const MemoryMapEntry& entry : memory.map()) {
    map.push_back({entry.range.start.value, entry.range.size.value, static_cast<uint32_t>(entry.type), 0});
  }
  info.memory_map = PlaceArray(memory, std::span<const MapEntry>(map)).value;
  info.memory_map_entries = static_cast<uint32_t>(map.size());
  const StartInfo& placed = info;
  loaded.entry.mode = BootEntry::Mode::kProtected32;
  loaded.entry.rip = elf.pvh_entry->value;
  loaded.entry.rbx = PlaceArray(memory, std::span(&placed, 1)).value;
  PlaceEntryTables(loaded.entry, memory);
  return loaded;
}

}  // namespace faultline
