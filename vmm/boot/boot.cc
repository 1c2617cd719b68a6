#include "vmm/boot/boot.h"

#include <fcntl.h>

#include <memory>

#include "guestmem/error.h"
#include "vmm/boot/boot_memory.h"
#include "vmm/boot/command_line.h"
#include "vmm/boot/elf.h"
#include "vmm/boot/entry_state.h"
#include "vmm/boot/kernel_formats.h"
#include "vmm/boot/module_list.h"

namespace faultline {

std::string_view ToString(KernelFormat format) {
  switch (format) {
    case KernelFormat::kBzImage:
      return "bzImage";
    case KernelFormat::kVmlinux:
      return "vmlinux";
    case KernelFormat::kPvh:
      return "PVH";
    case KernelFormat::kMultiboot1:
      return "Multiboot 1";
  }
  return "unknown";
}

GpaRange PlaceInitrd(const BootFiles& files, Gpa limit, BootMemory& memory) {
  if (files.initrd == nullptr) return {};
  const Bytes size = files.initrd->size();
  const GpaRange at = memory.ClaimHigh(size, limit, files.initrd->name());
  memory.Copy(*files.initrd, Bytes(0), size, at.start);
  return {at.start, size};
}

void PlaceEntryTables(BootEntry& entry, BootMemory& memory) {
  const BootGdt gdt = GdtFor(entry.mode);
  entry.gdt = memory.ClaimLow(Bytes(sizeof(gdt)));
  entry.gdt_limit = sizeof(gdt) - 1;
  memory.WriteValue(entry.gdt, gdt);
  entry.rsp = (memory.ClaimLow(kPageSize) + kPageSize).value;
}

void CheckCommandLine(const BootFiles& files, size_t limit) {
  if (files.command_line.size() > limit) {
    throw UsageError("the kernel command line has " + std::to_string(files.command_line.size()) + " characters, but " +
                     files.kernel.name() + " takes at most " + std::to_string(limit) + ": shorten it");
  }
}

LoadedKernel LoadKernelFrom(const ImageSource& kernel, const ImageSource* initrd,
                            std::span<const MultibootModule> modules, GuestMemory& guest, const BootRequest& request) {
  BootMemory memory(guest, request.ram, request.reserved, request.ram_is_zero);
  BootFiles files{kernel, initrd, request.command_line, request.rsdp};
  if (LooksLikeMultiboot(kernel)) return LoadMultiboot(files, modules, memory);
  files.command_line = CompleteCommandLine(request.command_line, request.default_words);
  if (LooksLikeElf(kernel)) {
    const ElfImage elf = ParseElf(kernel);
    return elf.pvh_entry ? LoadPvh(files, elf, memory) : LoadVmlinux(files, elf, memory);
  }
  if (LooksLikeBzImage(kernel)) return LoadBzImage(files, memory);
  throw Error(kernel.name() + " is no kernel that can be booted: give a Linux bzImage or vmlinux, an ELF file with a " +
              "PVH note, or a Multiboot 1 image");
}

LoadedKernel LoadKernel(Host& host, GuestMemory& memory, const BootRequest& request) {
  const FileImage kernel(host, "kernel", request.kernel);
  if (LooksLikeMultiboot(kernel)) {
    const ModuleFiles modules(host, request.initrd);
    return LoadKernelFrom(kernel, nullptr, modules.modules(), memory, request);
  }
  if (request.initrd.empty()) return LoadKernelFrom(kernel, nullptr, {}, memory, request);
  const FileImage initrd(host, "initrd", request.initrd);
  return LoadKernelFrom(kernel, &initrd, {}, memory, request);
}

bool IsSoftwareKvm(Host& host) {
  const FileDescriptor module(host, host.Open("/sys/module/kvm_pvm", O_PATH | O_DIRECTORY | O_CLOEXEC, 0));
  return static_cast<bool>(module);
}

}  // namespace faultline
