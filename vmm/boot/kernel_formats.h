// One function for each kernel format: fills guest memory and says how the first vCPU starts.
//
// All throw Error or UsageError with a sentence. None trusts anything the files say.
#pragma once

#include "vmm/boot/boot.h"
#include "vmm/boot/boot_memory.h"
#include "vmm/boot/elf.h"
#include "vmm/boot/image_source.h"

namespace faultline {

// What every format needs. `initrd` is null when there is none.
struct BootFiles {
  const ImageSource& kernel;
  const ImageSource* initrd = nullptr;
  std::string command_line;
  Gpa rsdp;
};

bool LooksLikeBzImage(const ImageSource& kernel);
// Linux/x86 boot protocol 2.10 and later: the 64-bit entry where the header offers it, else the 32-bit one.
LoadedKernel LoadBzImage(const BootFiles& files, BootMemory& memory);

// An uncompressed Linux by the same protocol's 64-bit entry, which its ELF header names.
LoadedKernel LoadVmlinux(const BootFiles& files, const ElfImage& elf, BootMemory& memory);

// By its PVH entry (Xen docs/misc/pvh.pandoc, start info version 1).
LoadedKernel LoadPvh(const BootFiles& files, const ElfImage& elf, BootMemory& memory);

bool LooksLikeMultiboot(const ImageSource& kernel);
// Multiboot specification 0.6.96: ELF, or flat with the addresses in the header. `modules` in order; each comes with
// the string the kernel finds beside it.
struct MultibootModule {
  const ImageSource& source;
  std::string text;
};
LoadedKernel LoadMultiboot(const BootFiles& files, std::span<const MultibootModule> modules, BootMemory& memory);

// Finds the format and loads; what LoadKernel does once the files are open. `initrd` is for every format but Multiboot,
// `modules` for that alone.
LoadedKernel LoadKernelFrom(const ImageSource& kernel, const ImageSource* initrd,
                            std::span<const MultibootModule> modules, GuestMemory& guest, const BootRequest& request);

// Shared by the formats: takes high memory for the initrd, if there is one, and fills it.
GpaRange PlaceInitrd(const BootFiles& files, Gpa limit, BootMemory& memory);
// The GDT and a page of stack.
void PlaceEntryTables(BootEntry& entry, BootMemory& memory);
// Throws UsageError when the command line is longer than `limit` characters.
void CheckCommandLine(const BootFiles& files, size_t limit);

// Kernels of 32-bit entries find nothing above this.
inline constexpr Gpa kBelow4GiB{1ULL << 32};

}  // namespace faultline
