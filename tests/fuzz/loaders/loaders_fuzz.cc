// Any file as a kernel: it is refused with a sentence, or what was loaded lies in guest memory and starts there.
#include <cstdlib>
#include <vector>

#include "guestmem/error.h"
#include "guestmem/guest_memory.h"
#include "guestmem/listener.h"
#include "vmm/boot/boot.h"
#include "vmm/boot/kernel_formats.h"

namespace faultline {
namespace {

constexpr GpaRange kRam{Gpa(0), 32_MiB};
constexpr GpaRange kReserved{Gpa(0xe0000), Bytes(0x20000)};

GuestMemoryOptions PlainMemory() {
  GuestMemoryOptions options;
  options.userfault = false;
  return options;
}

// One for all runs: contents do not matter.
struct World {
  World() : memory(Host::System(), listener, PlainMemory()) {
    RegionSpec spec;
    spec.name = "ram";
    spec.gpa = kRam;
    memory.Plug(spec);
  }
  NullListener listener;
  GuestMemory memory;
};

void Check(bool holds) {
  if (!holds) std::abort();
}

void TryToLoad(std::span<const std::byte> file, World& world) {
  static const std::vector<std::byte> initrd_bytes(5000, std::byte{0x5a});
  const MemoryImage kernel("the kernel", file);
  const MemoryImage initrd("the initrd", initrd_bytes);
  const MultibootModule module{initrd, "module words"};
  BootRequest request;
  request.command_line = "words for the kernel";
  request.default_words = {"console=ttyS0"};
  request.ram = {kRam};
  request.reserved = {kReserved};
  request.rsdp = kReserved.start;
  request.ram_is_zero = false;
  try {
    const LoadedKernel loaded = LoadKernelFrom(kernel, &initrd, std::span(&module, 1), world.memory, request);
    Check(kRam.Contains(loaded.image) && !loaded.image.Overlaps(kReserved));
    Check(loaded.image.Contains(Gpa(loaded.entry.rip)));
    Check(kRam.Contains(loaded.initrd) && !loaded.initrd.Overlaps(loaded.image));
    Check(loaded.entry.rsp != 0 && kRam.Contains(Gpa(loaded.entry.rsp - 1)));
  } catch (const Error& error) {
    Check(error.what()[0] != '\0');
  }
}

}  // namespace
}  // namespace faultline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static faultline::World world;
  faultline::TryToLoad(std::as_bytes(std::span(data, size)), world);
  return 0;
}
