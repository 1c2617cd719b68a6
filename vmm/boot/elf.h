// ELF executables as kernels: what to load where (System V ABI, "Object Files"; both classes, x86 only).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "vmm/boot/boot_memory.h"
#include "vmm/boot/image_source.h"

namespace faultline {

struct ElfSegment {
  Bytes offset;  // in the file
  Bytes file_size;
  GpaRange memory;  // at its physical address; at least `file_size`
};

struct ElfImage {
  bool is_64bit = false;
  Gpa entry;
  std::vector<ElfSegment> segments;  // those that are loaded, in the file's order; at least one
  std::optional<Gpa> pvh_entry;      // of the note XEN_ELFNOTE_PHYS32_ENTRY

  // From the first loaded byte to the last.
  GpaRange extent() const;
};

bool LooksLikeElf(const ImageSource& source);

// Throws Error when the file is no x86 executable or contradicts itself. Bounded work whatever the file says.
ElfImage ParseElf(const ImageSource& source);

// Claims the image's extent and fills it.
void LoadElf(const ImageSource& source, const ElfImage& elf, BootMemory& memory);

}  // namespace faultline
