// What a Linux kernel is told at its start: the "zero page" of the Linux/x86 boot protocol
// (Documentation/x86/boot.rst and zero-page.rst), and the identity mapping its 64-bit entry wants.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <string>

#include "vmm/boot/boot_memory.h"

namespace faultline {

// Offsets in the zero page. The setup header of a bzImage lies at the same offsets in its file.
namespace zero_page {
inline constexpr size_t kSize = 4096;
inline constexpr size_t kAcpiRsdp = 0x070;
inline constexpr size_t kE820Entries = 0x1e8;
inline constexpr size_t kSetupHeader = 0x1f1;
inline constexpr size_t kBootFlag = 0x1fe;
inline constexpr size_t kHeaderJump = 0x201;  // the distance from 0x202 to the header's end
inline constexpr size_t kHeaderMagic = 0x202;
inline constexpr size_t kVersion = 0x206;
inline constexpr size_t kTypeOfLoader = 0x210;
inline constexpr size_t kLoadFlags = 0x211;
inline constexpr size_t kCode32Start = 0x214;
inline constexpr size_t kRamdiskImage = 0x218;
inline constexpr size_t kRamdiskSize = 0x21c;
inline constexpr size_t kCommandLine = 0x228;
inline constexpr size_t kInitrdMax = 0x22c;
inline constexpr size_t kKernelAlignment = 0x230;
inline constexpr size_t kXloadFlags = 0x236;
inline constexpr size_t kCommandLineSize = 0x238;
inline constexpr size_t kSetupData = 0x250;
inline constexpr size_t kPreferredAddress = 0x258;
inline constexpr size_t kInitSize = 0x260;
inline constexpr size_t kHeaderEnd = 0x290;
inline constexpr size_t kE820Table = 0x2d0;
inline constexpr size_t kE820Max = 128;

inline constexpr uint32_t kMagic = 0x53726448;  // "HdrS"
inline constexpr uint16_t kBootFlagValue = 0xaa55;
}  // namespace zero_page

// The head of what zero_page::kSetupData points at (Documentation/x86/boot.rst, setup_data).
struct SetupDataHead {
  uint64_t next = 0;
  uint32_t type = 0;
  uint32_t size = 0;  // in bytes, of what follows
};
// Bytes for the kernel's random numbers. A kernel may trust them from the start: random.trust_bootloader.
inline constexpr uint32_t kSetupRandomSeed = 9;
inline constexpr size_t kRandomSeedSize = 32;

class LinuxParams {
 public:
  template <class T>
  void Set(size_t offset, T value) {
    std::memcpy(page_.data() + offset, &value, sizeof(value));
  }
  std::byte* at(size_t offset) { return page_.data() + offset; }

  // The parts that do not depend on the kernel's format; puts a random seed into low memory. Throws Error for more
  // memory ranges than fit.
  void Describe(BootMemory& memory, Gpa rsdp, Gpa command_line, GpaRange initrd);
  // Puts the page into low memory.
  Gpa Place(BootMemory& memory) const;

 private:
  std::array<std::byte, zero_page::kSize> page_{};
};

// Puts page tables into low memory that map the first 4 GiB one to one with 2 MiB pages; returns their root.
Gpa PlaceIdentityMap(BootMemory& memory);

// Puts a C string into low memory.
Gpa PlaceString(BootMemory& memory, const std::string& text);

}  // namespace faultline
