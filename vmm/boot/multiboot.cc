#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "guestmem/error.h"
#include "vmm/boot/kernel_formats.h"
#include "vmm/boot/linux_params.h"

// Multiboot specification 0.6.96; section numbers are its own.
namespace faultline {
namespace {

// §3.1
constexpr Bytes kSearched{8192};
constexpr uint32_t kHeaderMagic = 0x1badb002;
constexpr uint32_t kHasAddresses = 1U << 16;
// Bits 0 to 15 are demands; met are page alignment of modules (0) and the memory map (1), and a kernel that asks for
// a video mode (2) finds in the information that there is none.
constexpr uint32_t kUnknownDemands = 0xfff8;

struct Header {
  uint32_t magic;
  uint32_t flags;
  uint32_t checksum;
};

struct HeaderAddresses {
  uint32_t header;
  uint32_t load;
  uint32_t load_end;
  uint32_t bss_end;
  uint32_t entry;
};

// §3.2, §3.3
constexpr uint32_t kEntryMagic = 0x2badb002;
constexpr uint32_t kInfoMemory = 1U << 0;
constexpr uint32_t kInfoCommandLine = 1U << 2;
constexpr uint32_t kInfoModules = 1U << 3;
constexpr uint32_t kInfoMemoryMap = 1U << 6;
constexpr uint32_t kInfoLoaderName = 1U << 9;
constexpr uint32_t kLowMemoryKib = 639;
constexpr Gpa kHighMemory{1U << 20};

struct Info {
  uint32_t flags;
  uint32_t low_kib;
  uint32_t high_kib;
  uint32_t boot_device;
  uint32_t command_line;
  uint32_t modules;
  uint32_t module_list;
  std::array<uint32_t, 4> symbols;
  uint32_t map_size;
  uint32_t map;
  uint32_t drives_size;
  uint32_t drives;
  uint32_t config_table;
  uint32_t loader_name;
  uint32_t apm_table;
};

struct Module {
  uint32_t start;
  uint32_t end;
  uint32_t text;
  uint32_t reserved;
};

// The size field counts what follows it.
struct MapEntry {
  uint32_t size;
  std::array<uint32_t, 2> address;
  std::array<uint32_t, 2> length;
  uint32_t type;
};

struct FoundHeader {
  Bytes offset;
  uint32_t flags = 0;
};

std::optional<FoundHeader> FindHeader(const ImageSource& kernel) {
  std::vector<std::byte> bytes(std::min(kSearched, kernel.size()).value);
  kernel.Read(Bytes(0), bytes);
  for (size_t at = 0; at + sizeof(Header) <= bytes.size(); at += sizeof(uint32_t)) {
    Header header;
    std::memcpy(&header, bytes.data() + at, sizeof(header));
    if (header.magic == kHeaderMagic && header.magic + header.flags + header.checksum == 0) {
      return FoundHeader{Bytes(at), header.flags};
    }
  }
  return std::nullopt;
}

uint32_t Low32(Gpa gpa) { return static_cast<uint32_t>(gpa.value); }

std::array<uint32_t, 2> Halves(uint64_t value) {
  return {static_cast<uint32_t>(value), static_cast<uint32_t>(value >> 32)};
}

// What the header's addresses say, for a file that need not be ELF (§3.1.3).
void LoadFlat(const ImageSource& kernel, const FoundHeader& found, BootMemory& memory, LoadedKernel& loaded) {
  const auto addresses = kernel.ReadValue<HeaderAddresses>(found.offset + Bytes(sizeof(Header)));
  const uint64_t before_header = uint64_t{addresses.header} - addresses.load;
  if (addresses.load > addresses.header || before_header > found.offset.value) {
    throw Error(kernel.name() + " has a Multiboot header that contradicts itself; copy it again");
  }
  const Bytes offset(found.offset.value - before_header);
  const Bytes available = kernel.size() - offset;
  const Bytes size = addresses.load_end == 0 ? available : Bytes(uint64_t{addresses.load_end} - addresses.load);
  if (addresses.load_end != 0 && addresses.load_end < addresses.load) {
    throw Error(kernel.name() + " has a Multiboot header that contradicts itself; copy it again");
  }
  if (size > available) {
    throw Error(kernel.name() + " is truncated: it ends before what its Multiboot header promises; copy it again");
  }
  const Gpa start(addresses.load);
  const Gpa end = std::max(start + size, Gpa(addresses.bss_end));
  loaded.image = {start, end - start};
  loaded.entry.rip = addresses.entry;
  memory.Claim(loaded.image, kernel.name());
  memory.Copy(kernel, offset, size, start);
  memory.Zero({start + size, end - (start + size)});
}

void LoadElfKernel(const ImageSource& kernel, BootMemory& memory, LoadedKernel& loaded) {
  if (!LooksLikeElf(kernel)) {
    throw Error(kernel.name() +
                " has a Multiboot header but is no ELF file and names no addresses: it cannot be loaded");
  }
  const ElfImage elf = ParseElf(kernel);
  loaded.image = elf.extent();
  loaded.entry.rip = elf.entry.value;
  LoadElf(kernel, elf, memory);
}

uint32_t PlaceModules(std::span<const MultibootModule> modules, BootMemory& memory) {
  std::vector<Module> list;
  for (const MultibootModule& module : modules) {
    const Bytes size = module.source.size();
    const GpaRange at = memory.ClaimHigh(size, kBelow4GiB, module.source.name());
    memory.Copy(module.source, Bytes(0), size, at.start);
    list.push_back({Low32(at.start), Low32(at.start + size), Low32(PlaceString(memory, module.text)), 0});
  }
  const Gpa at = memory.ClaimLow(Bytes(list.size() * sizeof(Module)));
  memory.Write(at, std::as_bytes(std::span(list)));
  return Low32(at);
}

void PlaceMap(BootMemory& memory, Info& info) {
  std::vector<MapEntry> map;
  for (const MemoryMapEntry& entry : memory.map()) {
    map.push_back({sizeof(MapEntry) - sizeof(uint32_t), Halves(entry.range.start.value), Halves(entry.range.size.value),
                   static_cast<uint32_t>(entry.type)});
    if (entry.type == MemoryType::kRam && entry.range.Contains(kHighMemory)) {
      const uint64_t kib = (entry.range.end() - kHighMemory) / 1_KiB;
      info.high_kib = static_cast<uint32_t>(std::min<uint64_t>(kib, UINT32_MAX));
    }
  }
  info.map_size = static_cast<uint32_t>(map.size() * sizeof(MapEntry));
  const Gpa at = memory.ClaimLow(Bytes(info.map_size));
  memory.Write(at, std::as_bytes(std::span(map)));
  info.map = Low32(at);
}

}  // namespace

bool LooksLikeMultiboot(const ImageSource& kernel) { return FindHeader(kernel).has_value(); }

LoadedKernel LoadMultiboot(const BootFiles& files, std::span<const MultibootModule> modules, BootMemory& memory) {
  const ImageSource& kernel = files.kernel;
  const FoundHeader found = FindHeader(kernel).value();
  if ((found.flags & kUnknownDemands) != 0) {
    throw Error(kernel.name() +
                " demands something of its Multiboot loader that the specification does not know; use " +
                "a kernel for Multiboot 1");
  }
  LoadedKernel loaded;
  loaded.format = KernelFormat::kMultiboot1;
  loaded.command_line = files.command_line;
  loaded.entry.mode = BootEntry::Mode::kProtected32;
  if ((found.flags & kHasAddresses) != 0) {
    LoadFlat(kernel, found, memory, loaded);
  } else {
    LoadElfKernel(kernel, memory, loaded);
  }
  if (!loaded.image.Contains(Gpa(loaded.entry.rip)) || loaded.image.end() > kBelow4GiB) {
    throw Error(kernel.name() + " does not start inside of what it loads below 4 GiB; it is damaged: copy it again");
  }

  Info info{};
  info.flags = kInfoMemory | kInfoCommandLine | kInfoModules | kInfoMemoryMap | kInfoLoaderName;
  info.low_kib = kLowMemoryKib;
  info.command_line = Low32(PlaceString(memory, files.command_line));
  info.loader_name = Low32(PlaceString(memory, "faultline"));
  info.modules = static_cast<uint32_t>(modules.size());
  info.module_list = PlaceModules(modules, memory);
  PlaceMap(memory, info);
  const Gpa at = memory.ClaimLow(Bytes(sizeof(info)));
  memory.WriteValue(at, info);
  loaded.entry.rax = kEntryMagic;
  loaded.entry.rbx = at.value;
  PlaceEntryTables(loaded.entry, memory);
  return loaded;
}

}  // namespace faultline
