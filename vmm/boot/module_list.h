// The modules of a Multiboot kernel, written as one text: "PATH WORDS,PATH WORDS", as QEMU's -initrd takes them.
#pragma once

#include <list>
#include <span>
#include <string>
#include <vector>

#include "guestmem/host.h"
#include "vmm/boot/image_source.h"
#include "vmm/boot/kernel_formats.h"

namespace faultline {

// Owns the opened files; the modules point into it.
class ModuleFiles {
 public:
  // The empty text is no module. Throws Error when a file cannot be read.
  ModuleFiles(Host& host, const std::string& text);

  std::span<const MultibootModule> modules() const { return modules_; }

 private:
  std::list<FileImage> files_;
  std::vector<MultibootModule> modules_;
};

}  // namespace faultline
