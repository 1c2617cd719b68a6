#include "guestmem/error.h"
#include "vmm/boot/kernel_formats.h"
#include "vmm/boot/linux_params.h"

namespace faultline {
namespace {

constexpr size_t kCommandLineMax = 2047;  // COMMAND_LINE_SIZE of x86, less the terminating zero
constexpr Gpa kInitrdEnd{1ULL << 31};     // what a bzImage's header gives as initrd_addr_max, plus one
constexpr uint16_t kProtocolVersion = 0x20c;

}  // namespace

LoadedKernel LoadVmlinux(const BootFiles& files, const ElfImage& elf, BootMemory& memory) {
  if (!elf.is_64bit) {
    throw Error(files.kernel.name() + " is a 32-bit ELF file without a PVH note or Multiboot header: it has no entry " +
                "that is known; give its bzImage");
  }
  LoadedKernel loaded;
  loaded.format = KernelFormat::kVmlinux;
  loaded.image = elf.extent();
  loaded.command_line = files.command_line;
  if (!loaded.image.Contains(elf.entry) || loaded.image.end() > kBelow4GiB) {
    throw Error(files.kernel.name() + " is an ELF file but no kernel: it does not start at a physical address of its " +
                "own below 4 GiB");
  }
  CheckCommandLine(files, kCommandLineMax);
  LoadElf(files.kernel, elf, memory);
  loaded.initrd = PlaceInitrd(files, kInitrdEnd, memory);

  LinuxParams params;
  params.Set(zero_page::kBootFlag, zero_page::kBootFlagValue);
  params.Set(zero_page::kHeaderMagic, zero_page::kMagic);
  params.Set(zero_page::kVersion, kProtocolVersion);
  params.Set(zero_page::kKernelAlignment, static_cast<uint32_t>((2_MiB).value));
  params.Describe(memory, files.rsdp, PlaceString(memory, files.command_line), loaded.initrd);
  loaded.entry.mode = BootEntry::Mode::kLong64;
  loaded.entry.rip = elf.entry.value;
  loaded.entry.rsi = params.Place(memory).value;
  loaded.entry.cr3 = PlaceIdentityMap(memory);
  PlaceEntryTables(loaded.entry, memory);
  return loaded;
}

}  // namespace faultline
