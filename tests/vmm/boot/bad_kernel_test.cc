// What is wrong with a kernel, an initrd or their size is said in one sentence, and nothing worse happens.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/guestmem/failing_host.h"
#include "tests/vmm/boot/boot_world.h"

namespace faultline {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(BadKernel, ThatIsMissingIsNamed) {
  BootWorld world;
  world.request.kernel = world.folder() / "nowhere";
  EXPECT_THAT(world.Complaint(),
              AllOf(HasSubstr("cannot open the kernel"), HasSubstr("nowhere"), HasSubstr("No such file or directory")));
}

TEST(BadKernel, ThatIsADirectoryIsRefused) {
  BootWorld world;
  world.request.kernel = world.folder();
  EXPECT_THAT(world.Complaint(), HasSubstr("is a directory; name a file"));
}

TEST(BadKernel, ThatIsAPipeIsRefusedWithoutWaitingForAWriter) {
  BootWorld world;
  world.request.kernel = world.folder() / "pipe";
  ASSERT_EQ(mkfifo(world.request.kernel.c_str(), 0600), 0);
  EXPECT_THAT(world.Complaint(), HasSubstr("is not a regular file"));
}

TEST(BadKernel, ThatMayNotBeReadIsNamed) {
  BootWorld world;
  world.request.kernel = world.File("secret", ElfMaker().Make());
  FailingHost host;
  host.Arm(1, EACCES, CallsOfKind(HostCallKind::kOpen));
  EXPECT_THAT(world.Complaint(host), HasSubstr("Permission denied; name a file that can be read"));
}

// A disk that fails, or a file that shrinks meanwhile, at each of the reads.
TEST(BadKernel, WhoseReadFailsAtAnyPointIsNamed) {
  BootWorld world;
  world.request.kernel = world.File("vmlinux", ElfMaker{.pvh_entry = 0x1000020}.Make());
  world.request.initrd = world.File("initrd", ByteVector(5000));
  FailingHost host;
  host.Count(CallsOfKind(HostCallKind::kPread));
  ASSERT_EQ(world.Complaint(host), "");
  const uint64_t reads = host.seen();
  for (uint64_t nth = 1; nth <= reads; ++nth) {
    host.Arm(nth, EIO, CallsOfKind(HostCallKind::kPread));
    EXPECT_THAT(world.Complaint(host), AllOf(HasSubstr("cannot read the "), HasSubstr("Input/output error"))) << nth;
  }
  EXPECT_EQ(host.open_descriptors(), 0U);
}

TEST(BadKernel, ThatIsEmptyOrTextIsNone) {
  BootWorld world;
  world.request.kernel = world.File("empty", {});
  EXPECT_THAT(world.Complaint(), HasSubstr("is empty"));
  world.request.kernel = world.File("text", ByteVector(3000, std::byte{'a'}));
  EXPECT_THAT(world.Complaint(), HasSubstr("is no kernel that can be booted"));
}

TEST(BadKernel, ForAnotherProcessorIsRefused) {
  BootWorld world;
  world.request.kernel = world.File("arm", ElfMaker{.machine = EM_AARCH64}.Make());
  EXPECT_THAT(world.Complaint(), HasSubstr("another processor"));
}

// Every length of a file that lacks its end: a sentence, and for all but the shortest the right one.
TEST(BadKernel, ThatIsTruncatedAnywhereIsToldSo) {
  BootWorld world;
  for (const ByteVector& whole : {ElfMaker{.pvh_entry = 0x1000020}.Make(), BzImageMaker().Make()}) {
    for (size_t size = 1; size < whole.size(); size += size < 0x400 ? 1 : 509) {
      world.request.kernel = world.File("part", ByteVector(whole.begin(), whole.begin() + static_cast<long>(size)));
      const bool is_elf = whole[1] == std::byte{'E'};
      const std::string complaint = world.Complaint();
      // A bzImage does not say how long it is: what is behind its entry counts as the kernel.
      if (!is_elf && size > 1024 + 0x200) {
        EXPECT_EQ(complaint, "");
      } else if (size >= 0x206) {
        EXPECT_THAT(complaint, HasSubstr("is truncated")) << size;
      } else {
        EXPECT_THAT(complaint, Not(testing::IsEmpty())) << size;
      }
    }
  }
}

TEST(BadKernel, ThatNeedsMoreMemoryThanThereIsSaysHowMuch) {
  BootWorld world(8_MiB);
  world.request.kernel = world.File("vmlinux", ElfMaker().Make());
  EXPECT_THAT(world.Complaint(), AllOf(HasSubstr("needs memory up to 17 MiB"), HasSubstr("give it more memory")));
  world.request.kernel = world.File("bzImage", BzImageMaker().Make());
  EXPECT_THAT(world.Complaint(), HasSubstr("needs memory up to 17 MiB"));
}

TEST(BadKernel, WhoseSegmentsContradictThemselvesIsRefused) {
  BootWorld world;
  ByteVector file = ElfMaker().Make();
  Put(file, sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_memsz), uint64_t{1});
  world.request.kernel = world.File("vmlinux", file);
  EXPECT_THAT(world.Complaint(), HasSubstr("contradicts itself"));
  file = ElfMaker{.address = ~uint64_t{0} - 100}.Make();
  world.request.kernel = world.File("vmlinux", file);
  EXPECT_THAT(world.Complaint(), HasSubstr("contradicts itself"));
}

TEST(BadKernel, ThatIsAProgramIsToldFromAKernel) {
  BootWorld world;
  world.request.kernel = world.File("program", ElfMaker{.entry = 0xffffffff81000000}.Make());
  EXPECT_THAT(world.Complaint(), HasSubstr("is an ELF file but no kernel"));
}

TEST(BadKernel, WithAPvhEntryOutsideOfItselfIsRefused) {
  BootWorld world;
  world.request.kernel = world.File("kernel", ElfMaker{.pvh_entry = 0x100}.Make());
  EXPECT_THAT(world.Complaint(), HasSubstr("PVH note whose entry lies outside"));
}

TEST(BadKernel, OfAnOldBootProtocolIsRefused) {
  BootWorld world;
  world.request.kernel = world.File("bzImage", BzImageMaker{.version = 0x204}.Make());
  EXPECT_THAT(world.Complaint(), HasSubstr("boot protocol before 2.10"));
}

TEST(BadKernel, WithAMultibootHeaderThatContradictsItselfIsRefused) {
  BootWorld world;
  const uint32_t flags = 1U << 16;
  const auto with = [&](uint32_t header, uint32_t load, uint32_t load_end, uint32_t entry) {
    ByteVector file(0x1000);
    Put(file, 0x100,
        std::array<uint32_t, 8>{0x1badb002, flags, 0U - 0x1badb002 - flags, header, load, load_end, 0, entry});
    world.request.kernel = world.File("kernel", file);
    return world.Complaint();
  };
  EXPECT_EQ(with(0x200100, 0x200000, 0, 0x200000), "");
  EXPECT_THAT(with(0x200100, 0x200200, 0, 0x200200), HasSubstr("contradicts itself"));
  EXPECT_THAT(with(0x200200, 0x200000, 0, 0x200000), HasSubstr("contradicts itself"));
  EXPECT_THAT(with(0x200100, 0x200000, 0x1ff000, 0x200000), HasSubstr("contradicts itself"));
  EXPECT_THAT(with(0x200100, 0x200000, 0x202000, 0x200000), HasSubstr("is truncated"));
  EXPECT_THAT(with(0x200100, 0x200000, 0, 0x100000), HasSubstr("does not start inside"));
}

TEST(BadInitrd, LargerThanMemoryIsRefused) {
  BootWorld world;
  world.request.kernel = world.File("vmlinux", ElfMaker().Make());
  world.request.initrd = world.File("initrd", {});
  std::filesystem::resize_file(world.request.initrd, (100_MiB).value);
  EXPECT_THAT(world.Complaint(), AllOf(HasSubstr("the initrd"), HasSubstr("(100 MiB) does not fit")));
}

TEST(BadInitrd, ThatIsMissingOrADirectoryIsNamed) {
  BootWorld world;
  world.request.kernel = world.File("vmlinux", ElfMaker().Make());
  world.request.initrd = world.folder() / "nowhere";
  EXPECT_THAT(world.Complaint(), HasSubstr("cannot open the initrd"));
  world.request.initrd = world.folder();
  EXPECT_THAT(world.Complaint(), HasSubstr("is a directory"));
}

TEST(BadModule, OfAMultibootKernelIsNamed) {
  BootWorld world;
  ByteVector file = ElfMaker().Make();
  Put(file, 0x900, std::array<uint32_t, 3>{0x1badb002, 3, 0U - 0x1badb002 - 3});
  world.request.kernel = world.File("kernel", file);
  world.request.initrd = (world.folder() / "nowhere").string() + " words";
  EXPECT_THAT(world.Complaint(), HasSubstr("cannot open the module"));
}

TEST(CommandLineOfAKernel, LongerThanItTakesIsRefused) {
  BootWorld world;
  world.request.kernel = world.File("bzImage", BzImageMaker{.command_line_max = 30}.Make());
  world.request.command_line = std::string(30, 'x');
  EXPECT_EQ(world.Complaint(), "");
  world.request.command_line += "x";
  EXPECT_THAT(world.Complaint(), AllOf(HasSubstr("has 31 characters"), HasSubstr("takes at most 30")));
}

TEST(GuestMemoryBelow640KiB, ThatOverflowsEndsWithASentence) {
  BootWorld world;
  ByteVector file = ElfMaker().Make();
  Put(file, 0x900, std::array<uint32_t, 3>{0x1badb002, 3, 0U - 0x1badb002 - 3});
  world.request.kernel = world.File("kernel", file);
  world.request.command_line = std::string(700000, 'x');
  EXPECT_THAT(world.Complaint(), HasSubstr("shorten the command line"));
}

}  // namespace
}  // namespace faultline
