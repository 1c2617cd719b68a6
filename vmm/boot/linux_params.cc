#include "vmm/boot/linux_params.h"

#include <sys/random.h>

#include <vector>

#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr uint8_t kLoaderWithoutId = 0xff;
constexpr size_t kE820EntrySize = 20;

constexpr uint64_t kTableFlags = 0x23;  // present, writable, accessed
constexpr uint64_t kPageFlags = 0xe3;   // and dirty, large page
constexpr unsigned kGibibytes = 4;

using Table = std::array<uint64_t, 512>;

struct RandomSeed {
  SetupDataHead head;
  std::array<std::byte, kRandomSeedSize> bytes{};
};

Gpa PlaceRandomSeed(BootMemory& memory) {
  RandomSeed seed;
  seed.head.type = kSetupRandomSeed;
  seed.head.size = sizeof(seed.bytes);
  // Up to 256 bytes always come whole (getrandom(2)).
  if (getrandom(seed.bytes.data(), seed.bytes.size(), 0) != static_cast<ssize_t>(seed.bytes.size())) {
    throw Error("the host gives no random numbers to seed the guest's with");
  }
  const Gpa at = memory.ClaimLow(Bytes(sizeof(seed)));
  memory.WriteValue(at, seed);
  return at;
}

}  // namespace

void LinuxParams::Describe(BootMemory& memory, Gpa rsdp, Gpa command_line, GpaRange initrd) {
  const auto& map = memory.map();
  if (map.size() > zero_page::kE820Max) {
    throw Error("the guest's memory is in more pieces (" + std::to_string(map.size()) +
                ") than a Linux kernel can be told of: reserve fewer ranges");
  }
  Set(zero_page::kAcpiRsdp, rsdp.value);
  Set(zero_page::kE820Entries, static_cast<uint8_t>(map.size()));
  for (size_t i = 0; i < map.size(); ++i) {
    const size_t entry = zero_page::kE820Table + i * kE820EntrySize;
    Set(entry, map[i].range.start.value);
    Set(entry + 8, map[i].range.size.value);
    Set(entry + 16, static_cast<uint32_t>(map[i].type));
  }
  Set(zero_page::kSetupData, PlaceRandomSeed(memory).value);
  Set(zero_page::kTypeOfLoader, kLoaderWithoutId);
  Set(zero_page::kCommandLine, static_cast<uint32_t>(command_line.value));
  Set(zero_page::kRamdiskImage, static_cast<uint32_t>(initrd.start.value));
  Set(zero_page::kRamdiskSize, static_cast<uint32_t>(initrd.size.value));
}

Gpa LinuxParams::Place(BootMemory& memory) const {
  const Gpa at = memory.ClaimLow(Bytes(zero_page::kSize), kPageSize);
  memory.Write(at, page_);
  return at;
}

Gpa PlaceIdentityMap(BootMemory& memory) {
  std::vector<Table> tables(2 + kGibibytes);
  const Gpa root = memory.ClaimLow(kPageSize * tables.size(), kPageSize);
  const auto address_of = [root](size_t table) { return (root + kPageSize * table).value; };
  tables[0][0] = address_of(1) | kTableFlags;
  for (size_t gib = 0; gib < kGibibytes; ++gib) {
    tables[1][gib] = address_of(2 + gib) | kTableFlags;
    for (size_t slot = 0; slot < tables[2].size(); ++slot) {
      tables[2 + gib][slot] = (gib << 30) | (slot << 21) | kPageFlags;
    }
  }
  memory.Write(root, std::as_bytes(std::span(tables)));
  return root;
}

Gpa PlaceString(BootMemory& memory, const std::string& text) {
  const Gpa at = memory.ClaimLow(Bytes(text.size() + 1));
  memory.Write(at, std::as_bytes(std::span(text.c_str(), text.size() + 1)));
  return at;
}

}  // namespace faultline
