// Each kernel format: bytes at their addresses, what the kernel is told, and the entry.
#include <gtest/gtest.h>

#include "tests/vmm/boot/boot_world.h"
#include "vmm/boot/entry_state.h"

namespace faultline {
namespace {

constexpr uint64_t kKernelAt = 0x1000000;

TEST(Vmlinux, IsLoadedAtItsPhysicalAddressAndEnteredIn64BitMode) {
  BootWorld world;
  world.request.kernel = world.File("vmlinux", ElfMaker().Make());
  const LoadedKernel loaded = world.Load();
  EXPECT_EQ(loaded.format, KernelFormat::kVmlinux);
  EXPECT_EQ(loaded.entry.mode, BootEntry::Mode::kLong64);
  EXPECT_EQ(loaded.entry.rip, kKernelAt + 0x10);
  EXPECT_EQ(loaded.image.start, Gpa(kKernelAt));
  EXPECT_EQ(loaded.image.size, Bytes(0x4000));
  EXPECT_EQ(world.At<uint8_t>(kKernelAt), 0);
  EXPECT_EQ(world.At<uint8_t>(kKernelAt + 0x1fff), 0xff);
}

TEST(Vmlinux, FindsItsZeroPageFilledIn) {
  BootWorld world;
  world.request.kernel = world.File("vmlinux", ElfMaker().Make());
  world.request.initrd = world.File("initrd", ByteVector(5000, std::byte{0x5a}));
  world.request.command_line = "quiet";
  world.request.rsdp = Gpa(0xe0000);
  const LoadedKernel loaded = world.Load();
  const uint64_t params = loaded.entry.rsi;
  EXPECT_EQ(world.At<uint32_t>(params + zero_page::kHeaderMagic), zero_page::kMagic);
  EXPECT_EQ(world.At<uint64_t>(params + zero_page::kAcpiRsdp), 0xe0000U);
  EXPECT_EQ(world.TextAt(world.At<uint32_t>(params + zero_page::kCommandLine)), "quiet");
  EXPECT_EQ(world.At<uint32_t>(params + zero_page::kRamdiskImage), loaded.initrd.start.value);
  EXPECT_EQ(world.At<uint32_t>(params + zero_page::kRamdiskSize), 5000U);
  EXPECT_EQ(world.At<uint8_t>(params + zero_page::kE820Entries), 3);
  EXPECT_EQ(world.At<uint64_t>(params + zero_page::kE820Table + 8), 0x9fc00U);
  EXPECT_EQ(world.At<uint32_t>(params + zero_page::kE820Table + 20 + 16), 2U);
}

TEST(Vmlinux, FindsARandomSeedThatIsAnotherEachTime) {
  const auto seed = [] {
    BootWorld world;
    world.request.kernel = world.File("vmlinux", ElfMaker().Make());
    const LoadedKernel loaded = world.Load();
    const auto at = world.At<uint64_t>(loaded.entry.rsi + zero_page::kSetupData);
    const auto head = world.At<SetupDataHead>(at);
    EXPECT_EQ(head.next, 0U);
    EXPECT_EQ(head.type, kSetupRandomSeed);
    EXPECT_GE(at, kPageSize.value) << "the first page is the BIOS's";
    EXPECT_EQ(head.size, kRandomSeedSize);
    return world.At<std::array<uint64_t, kRandomSeedSize / 8>>(at + sizeof(head));
  };
  EXPECT_NE(seed(), seed());
}

TEST(Vmlinux, MapsTheFirstFourGibibytesOneToOne) {
  BootWorld world;
  world.request.kernel = world.File("vmlinux", ElfMaker().Make());
  const LoadedKernel loaded = world.Load();
  const auto walk = [&](uint64_t address) {
    constexpr uint64_t kAddress = 0xffffffffff000;
    const auto pml4 = world.At<uint64_t>(loaded.entry.cr3.value + (address >> 39) * 8);
    const auto pdpt = world.At<uint64_t>((pml4 & kAddress) + ((address >> 30) & 511) * 8);
    const auto pd = world.At<uint64_t>((pdpt & kAddress) + ((address >> 21) & 511) * 8);
    EXPECT_EQ(pd & 0x83, 0x83U) << "present, writable, large";
    return (pd & kAddress) + (address & 0x1fffff);
  };
  EXPECT_EQ(walk(0), 0U);
  EXPECT_EQ(walk(kKernelAt + 0x123), kKernelAt + 0x123);
  EXPECT_EQ(walk(0xffffffff), 0xffffffffU);
}

TEST(Vmlinux, ClearsItsBssOnlyWhereMemoryMayHoldSomething) {
  for (const bool zero : {true, false}) {
    BootWorld world;
    const auto old = std::byte{0xee};
    ASSERT_EQ(world.memory().Write(Gpa(kKernelAt + 0x3000), std::span(&old, 1)), AccessResult::kOk);
    world.request.kernel = world.File("vmlinux", ElfMaker().Make());
    world.request.ram_is_zero = zero;
    world.Load();
    EXPECT_EQ(world.At<uint8_t>(kKernelAt + 0x3000), zero ? 0xee : 0);
  }
}

TEST(Vmlinux, TouchesOnlyThePagesItNeeds) {
  BootWorld world;
  world.request.kernel = world.File("vmlinux", ElfMaker().Make());
  world.Load();
  // Eleven pages are written; each fault brings a few neighbours.
  EXPECT_LE(world.memory().present_bytes(), kPageSize * 64);
}

TEST(Initrd, LiesAsHighAsTheKernelReachesAndKeepsOffReservedMemory) {
  BootWorld world;
  world.request.kernel = world.File("vmlinux", ElfMaker().Make());
  world.request.initrd = world.File("initrd", ByteVector(5000, std::byte{0x5a}));
  EXPECT_EQ(world.Load().initrd.start, Gpa((64_MiB).value - 0x2000));
  world.request.reserved = {{Gpa((63_MiB).value), 1_MiB}};
  const LoadedKernel loaded = world.Load();
  EXPECT_EQ(loaded.initrd.start, Gpa((63_MiB).value - 0x2000));
  EXPECT_EQ(world.At<uint8_t>(loaded.initrd.start.value + 4999), 0x5a);
}

TEST(Pvh, IsEnteredIn32BitModeWithTheStartInfo) {
  BootWorld world;
  world.request.kernel = world.File("kernel", ElfMaker{.pvh_entry = 0x1000020}.Make());
  world.request.initrd = world.File("initrd", ByteVector(100, std::byte{1}));
  world.request.command_line = "one two";
  world.request.rsdp = Gpa(0xe0000);
  const LoadedKernel loaded = world.Load();
  EXPECT_EQ(loaded.format, KernelFormat::kPvh);
  EXPECT_EQ(loaded.entry.mode, BootEntry::Mode::kProtected32);
  EXPECT_EQ(loaded.entry.rip, 0x1000020U);
  const uint64_t info = loaded.entry.rbx;
  EXPECT_EQ(world.At<uint32_t>(info), 0x336ec578U);
  EXPECT_EQ(world.At<uint32_t>(info + 4), 1U);
  EXPECT_EQ(world.At<uint32_t>(info + 12), 1U);
  const auto modules = world.At<uint64_t>(info + 16);
  EXPECT_EQ(world.At<uint64_t>(modules), loaded.initrd.start.value);
  EXPECT_EQ(world.At<uint64_t>(modules + 8), 100U);
  EXPECT_EQ(world.TextAt(world.At<uint64_t>(info + 24)), "one two");
  EXPECT_EQ(world.At<uint64_t>(info + 32), 0xe0000U);
  EXPECT_EQ(world.At<uint32_t>(info + 48), 3U);
  EXPECT_EQ(world.At<uint64_t>(world.At<uint64_t>(info + 40) + 8), 0x9fc00U);
}

TEST(BzImage, IsLoadedAtItsPreferredAddressWithItsHeaderInTheZeroPage) {
  BootWorld world;
  world.request.kernel = world.File("bzImage", BzImageMaker().Make());
  world.request.command_line = "quiet";
  const LoadedKernel loaded = world.Load();
  EXPECT_EQ(loaded.format, KernelFormat::kBzImage);
  EXPECT_EQ(loaded.entry.mode, BootEntry::Mode::kLong64);
  EXPECT_EQ(loaded.entry.rip, kKernelAt + 0x200);
  EXPECT_EQ(loaded.image.size, Bytes(0x8000));
  EXPECT_EQ(world.At<uint8_t>(kKernelAt + 0x2fff), 0xff);
  EXPECT_EQ(world.At<uint32_t>(loaded.entry.rsi + zero_page::kInitSize), 0x8000U);
  EXPECT_EQ(world.At<uint8_t>(loaded.entry.rsi + zero_page::kTypeOfLoader), 0xff);
  EXPECT_EQ(world.TextAt(world.At<uint32_t>(loaded.entry.rsi + zero_page::kCommandLine)), "quiet");
}

TEST(BzImage, WithoutA64BitEntryIsEnteredIn32BitMode) {
  BootWorld world;
  world.request.kernel = world.File("bzImage", BzImageMaker{.xload_flags = 0}.Make());
  const LoadedKernel loaded = world.Load();
  EXPECT_EQ(loaded.entry.mode, BootEntry::Mode::kProtected32);
  EXPECT_EQ(loaded.entry.rip, kKernelAt);
  EXPECT_EQ(world.At<uint32_t>(loaded.entry.rsi + zero_page::kCode32Start), kKernelAt);
}

ByteVector MultibootFlat() {
  ByteVector file(0x1100, std::byte{0x90});
  const uint32_t flags = 1U << 16 | 3;
  Put(file, 0x100,
      std::array<uint32_t, 8>{0x1badb002, flags, 0U - 0x1badb002 - flags, 0x200100, 0x200000, 0x201100, 0x204000,
                              0x200040});
  return file;
}

TEST(Multiboot, LoadsAFlatImageByTheAddressesInItsHeader) {
  BootWorld world;
  world.request.kernel = world.File("kernel", MultibootFlat());
  const LoadedKernel loaded = world.Load();
  EXPECT_EQ(loaded.format, KernelFormat::kMultiboot1);
  EXPECT_EQ(loaded.entry.mode, BootEntry::Mode::kProtected32);
  EXPECT_EQ(loaded.entry.rip, 0x200040U);
  EXPECT_EQ(loaded.entry.rax, 0x2badb002U);
  EXPECT_EQ(loaded.image.size, Bytes(0x4000));
  EXPECT_EQ(world.At<uint8_t>(0x2010ff), 0x90);
}

TEST(Multiboot, TellsCommandLineMemoryMapAndModules) {
  BootWorld world;
  world.request.kernel = world.File("kernel", MultibootFlat());
  const std::string first = world.File("first", ByteVector(10, std::byte{1}));
  const std::string second = world.File("second", ByteVector(20, std::byte{2}));
  world.request.initrd = first + " with words," + second;
  world.request.command_line = "verbose";
  world.request.default_words = {"console=ttyS0"};
  const LoadedKernel loaded = world.Load();
  const uint64_t info = loaded.entry.rbx;
  EXPECT_EQ(world.At<uint32_t>(info) & 0x4d, 0x4dU);
  EXPECT_EQ(world.At<uint32_t>(info + 4), 639U);
  EXPECT_EQ(world.At<uint32_t>(info + 8), 63U * 1024);
  EXPECT_EQ(world.TextAt(world.At<uint32_t>(info + 16)), "verbose") << "the words for Linux are not for every kernel";
  ASSERT_EQ(world.At<uint32_t>(info + 20), 2U);
  const uint64_t modules = world.At<uint32_t>(info + 24);
  const auto start = world.At<uint32_t>(modules);
  EXPECT_EQ(world.At<uint32_t>(modules + 4), start + 10);
  EXPECT_EQ(world.At<uint8_t>(start + 9), 1);
  EXPECT_EQ(world.TextAt(world.At<uint32_t>(modules + 8)), first + " with words");
  EXPECT_EQ(world.At<uint8_t>(world.At<uint32_t>(modules + 16)), 2);
  const uint64_t map = world.At<uint32_t>(info + 48);
  EXPECT_EQ(world.At<uint32_t>(info + 44), 3U * 24);
  EXPECT_EQ(world.At<uint32_t>(map), 20U);
  EXPECT_EQ(world.At<uint64_t>(map + 12), 0x9fc00U);
  EXPECT_EQ(world.At<uint32_t>(map + 20), 1U);
}

TEST(Multiboot, LoadsAnElfFileWithAHeader) {
  BootWorld world;
  ByteVector file = ElfMaker().Make();
  Put(file, 0x900, std::array<uint32_t, 3>{0x1badb002, 3, 0U - 0x1badb002 - 3});
  world.request.kernel = world.File("kernel", file);
  const LoadedKernel loaded = world.Load();
  EXPECT_EQ(loaded.format, KernelFormat::kMultiboot1);
  EXPECT_EQ(loaded.entry.rip, kKernelAt + 0x10);
  EXPECT_EQ(world.At<uint8_t>(kKernelAt + 1), 1);
}

TEST(LoadedKernel, FindsTheGdtInItsMemory) {
  BootWorld world;
  world.request.kernel = world.File("vmlinux", ElfMaker().Make());
  const LoadedKernel loaded = world.Load();
  EXPECT_EQ(world.At<BootGdt>(loaded.entry.gdt.value), GdtFor(BootEntry::Mode::kLong64));
  EXPECT_EQ(loaded.entry.gdt_limit, 39);
}

}  // namespace
}  // namespace faultline
