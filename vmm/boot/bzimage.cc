#include <algorithm>
#include <vector>

#include "guestmem/error.h"
#include "vmm/boot/kernel_formats.h"
#include "vmm/boot/linux_params.h"

namespace faultline {
namespace {

constexpr uint16_t kOldestVersion = 0x20a;      // 2.10: preferred address and initial size
constexpr uint16_t kXloadFlagsVersion = 0x20c;  // 2.12: says whether there is a 64-bit entry
constexpr uint8_t kLoadedHigh = 1;
constexpr uint16_t kXloadKernel64 = 1;
constexpr unsigned kDefaultSetupSectors = 4;
constexpr Bytes kSector{512};
constexpr Bytes kEntry64{0x200};

struct SetupHeader {
  std::vector<std::byte> bytes;  // as it goes into the zero page
  Bytes payload;                 // where the protected-mode kernel starts in the file
  bool has_64bit_entry = false;
  Gpa load_address;
  Bytes init_size;
  Gpa initrd_max;
  uint32_t command_line_max = 0;
};

SetupHeader ReadSetupHeader(const ImageSource& kernel) {
  const auto version = kernel.ReadValue<uint16_t>(Bytes(zero_page::kVersion));
  const auto load_flags = kernel.ReadValue<uint8_t>(Bytes(zero_page::kLoadFlags));
  if (version < kOldestVersion || (load_flags & kLoadedHigh) == 0) {
    throw Error(kernel.name() + " follows a Linux boot protocol before 2.10; use a kernel newer than 2.6.30");
  }
  SetupHeader header;
  const auto jump = kernel.ReadValue<uint8_t>(Bytes(zero_page::kHeaderJump));
  const size_t end = std::min(zero_page::kHeaderMagic + jump, zero_page::kHeaderEnd);
  header.bytes.resize(end - zero_page::kSetupHeader);
  kernel.Read(Bytes(zero_page::kSetupHeader), header.bytes);
  const auto sectors = kernel.ReadValue<uint8_t>(Bytes(zero_page::kSetupHeader));
  header.payload = kSector * ((sectors == 0 ? kDefaultSetupSectors : sectors) + 1);
  header.has_64bit_entry = version >= kXloadFlagsVersion &&
                           (kernel.ReadValue<uint16_t>(Bytes(zero_page::kXloadFlags)) & kXloadKernel64) != 0;
  header.load_address = Gpa(kernel.ReadValue<uint64_t>(Bytes(zero_page::kPreferredAddress)));
  header.init_size = Bytes(kernel.ReadValue<uint32_t>(Bytes(zero_page::kInitSize)));
  header.initrd_max = Gpa(kernel.ReadValue<uint32_t>(Bytes(zero_page::kInitrdMax)));
  header.command_line_max = kernel.ReadValue<uint32_t>(Bytes(zero_page::kCommandLineSize));
  return header;
}

}  // namespace

bool LooksLikeBzImage(const ImageSource& kernel) {
  return kernel.size() >= Bytes(zero_page::kHeaderMagic + sizeof(uint32_t)) &&
         kernel.ReadValue<uint32_t>(Bytes(zero_page::kHeaderMagic)) == zero_page::kMagic &&
         kernel.ReadValue<uint16_t>(Bytes(zero_page::kBootFlag)) == zero_page::kBootFlagValue;
}

LoadedKernel LoadBzImage(const BootFiles& files, BootMemory& memory) {
  const ImageSource& kernel = files.kernel;
  const SetupHeader header = ReadSetupHeader(kernel);
  // The entry lies in the kernel, behind the setup code.
  const Bytes entry = header.has_64bit_entry ? kEntry64 : Bytes(0);
  if (header.payload + entry >= kernel.size()) {
    throw Error(kernel.name() + " is truncated: it ends before the entry of its kernel; copy it again");
  }
  CheckCommandLine(files, header.command_line_max);
  const Bytes payload_size = kernel.size() - header.payload;

  LoadedKernel loaded;
  loaded.format = KernelFormat::kBzImage;
  loaded.command_line = files.command_line;
  loaded.image = {header.load_address, std::max(payload_size, header.init_size)};
  if (!GpaRange::Make(loaded.image.start, loaded.image.size) || loaded.image.end() > kBelow4GiB) {
    throw Error(kernel.name() + " wants to lie above 4 GiB; its header is damaged: copy it again");
  }
  memory.Claim(loaded.image, kernel.name());
  memory.Copy(kernel, header.payload, payload_size, loaded.image.start);
  loaded.initrd = PlaceInitrd(files, std::min(header.initrd_max + Bytes(1), kBelow4GiB), memory);

  LinuxParams params;
  std::ranges::copy(header.bytes, params.at(zero_page::kSetupHeader));
  params.Set(zero_page::kCode32Start, static_cast<uint32_t>(loaded.image.start.value));
  params.Describe(memory, files.rsdp, PlaceString(memory, files.command_line), loaded.initrd);
  loaded.entry.rsi = params.Place(memory).value;
  if (header.has_64bit_entry) {
    loaded.entry.mode = BootEntry::Mode::kLong64;
    loaded.entry.rip = (loaded.image.start + entry).value;
    loaded.entry.cr3 = PlaceIdentityMap(memory);
  } else {
    loaded.entry.mode = BootEntry::Mode::kProtected32;
    loaded.entry.rip = (loaded.image.start + entry).value;
  }
  PlaceEntryTables(loaded.entry, memory);
  return loaded;
}

}  // namespace faultline
