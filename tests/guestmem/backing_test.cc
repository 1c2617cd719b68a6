#include "guestmem/backing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "guestmem/error.h"
#include "tests/guestmem/failing_host.h"
#include "tests/guestmem/memory_world.h"

namespace faultline {
namespace {

std::string TemporaryPath(const char* folder) {
  return std::string(folder) + "/backing_test." + std::to_string(getpid());
}

bool HugePagesAreFree() {
  std::ifstream file("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
  unsigned n = 0;
  return file >> n && n >= 2;
}

TEST(BackingTest, ASpecIsReadBackAsItIsWritten) {
  for (const char* text : {"anonymous", "memfd", "hugetlb", "file:/tmp/x", "file:relative name"}) {
    EXPECT_EQ(ToString(ParseBackingSpec(text)), text);
  }
  for (const char* text : {"", "anon", "file", "file:", "Memfd", "hugetlb:2M"}) {
    EXPECT_THROW((void)ParseBackingSpec(text), UsageError) << text;
  }
}

class EveryBacking : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    spec_ = ParseBackingSpec(GetParam());
    if (spec_.kind == BackingKind::kHugetlb && !HugePagesAreFree()) {
      GTEST_SKIP() << "the host has no free 2 MiB huge pages (sysctl vm.nr_hugepages)";
    }
    if (spec_.kind == BackingKind::kFile) spec_.path = TemporaryPath(spec_.path.c_str());
  }
  void TearDown() override {
    if (spec_.kind == BackingKind::kFile) unlink(spec_.path.c_str());
  }
  BackingSpec spec_;
};
INSTANTIATE_TEST_SUITE_P(Kinds, EveryBacking,
                         ::testing::Values("anonymous", "memfd", "hugetlb", "file:/dev/shm", "file:/tmp"));

TEST_P(EveryBacking, IsMappedEmptyAlignedToALeafAndUnmappedAtItsEnd) {
  FailingHost host;
  {
    const auto backing = Backing::Create(host, spec_, 8_MiB);
    EXPECT_EQ(backing->range().size, 8_MiB);
    EXPECT_TRUE(IsAligned(backing->range().start, kLeafSpan));
    EXPECT_EQ(host.mapped(), 8_MiB);
    std::byte* p = ToPointer(backing->range().start);
    EXPECT_EQ(p[0], std::byte{0});
    EXPECT_EQ(p[(8_MiB).value - 1], std::byte{0});
  }
  EXPECT_EQ(host.mapped(), Bytes(0));
  EXPECT_EQ(host.open_descriptors(), 0u);
}

TEST_P(EveryBacking, DiscardingGivesThePagesBack) {
  const auto backing = Backing::Create(Host::System(), spec_, 8_MiB);
  std::byte* p = ToPointer(backing->range().start);
  memset(p, 0x5a, (8_MiB).value);
  EXPECT_EQ(backing->Discard({backing->range().start + kLeafSpan, kLeafSpan}), 0);
  EXPECT_EQ(p[0], std::byte{0x5a});
  EXPECT_EQ(p[(kLeafSpan * 2).value], std::byte{0x5a});
  // A user's file on disk keeps its content; everything else is gone.
  if (backing->userfault_capable()) {
    EXPECT_EQ(p[kLeafSpan.value], std::byte{0});
    EXPECT_EQ(p[(kLeafSpan * 2).value - 1], std::byte{0});
  } else {
    EXPECT_EQ(p[kLeafSpan.value], std::byte{0x5a});
  }
}

TEST_P(EveryBacking, ServesAGuestThroughPlugAndUnplug) {
  MemoryWorld world(MemoryWorld::Options(/*fault_around=*/16));
  constexpr Gpa kGpa{0x100000000};
  for (int cycle = 0; cycle < 3; ++cycle) {
    const RegionId id = world.Plug(kGpa, 4_MiB, nullptr, spec_);
    for (uint64_t n = 0; n < 1024; n += 13) {
      uint64_t value = 0;
      ASSERT_EQ(world.slots.Read(kGpa + kPageSize * n, &value, sizeof(value)), SlotAccess::kOk);
      if (spec_.kind != BackingKind::kFile) {
        ASSERT_EQ(value, 0u) << "cycle " << cycle << " page " << n;
      }
      value = n;
      ASSERT_EQ(world.slots.Write(kGpa + kPageSize * n, &value, sizeof(value)), SlotAccess::kOk);
      ASSERT_EQ(world.slots.Read(kGpa + kPageSize * n, &value, sizeof(value)), SlotAccess::kOk);
      ASSERT_EQ(value, n);
    }
    world.memory.Unplug(id);
    ASSERT_FALSE(world.slots.stuck());
  }
}

TEST_P(EveryBacking, ReleasesAFaultThatSleepsInASlowSource) {
  if (!Backing::Create(Host::System(), spec_, 4_MiB)->userfault_capable()) {
    GTEST_SKIP() << "the kernel fills this backing by itself: no fault sleeps in a source";
  }
  MemoryWorld world;
  constexpr Gpa kGpa{0x100000000};
  const RegionId id = world.Plug(kGpa, 4_MiB, MakeDelaySource(std::chrono::milliseconds(300)), spec_);
  std::atomic<SlotAccess> result{SlotAccess::kFault};
  std::atomic<bool> done{false};
  std::thread vcpu([&] {
    uint8_t byte = 0;
    result = world.slots.Read(kGpa + kPageSize, &byte, 1);
    done = true;
  });
  // A file on disk is filled by the kernel, at once.
  while (world.slots.inside() == 0 && !done) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // asleep in its fault, most likely
  world.memory.Unplug(id);
  vcpu.join();
  EXPECT_FALSE(world.slots.stuck());
  EXPECT_NE(result, SlotAccess::kFault);
}

TEST_P(EveryBacking, AFailedCallOfTheHostNamesTheBackingAndLeavesNothing) {
  FailingHost host;
  host.Count(CallsOfThisThread());
  (void)Backing::Create(host, spec_, 4_MiB);
  const uint64_t calls = host.seen();
  unsigned refused = 0;
  for (uint64_t n = 1; n <= calls; ++n) {
    host.Arm(n, ENOMEM, [filter = CallsOfThisThread()](const HostCall& call) {
      return call.kind != HostCallKind::kMunmap && filter(call);  // munmap of a whole mapping does not fail
    });
    try {
      (void)Backing::Create(host, spec_, 4_MiB);
    } catch (const Error& e) {
      ++refused;
      EXPECT_GT(std::string(e.what()).size(), 20u);
    }
    host.Disarm();
    EXPECT_EQ(host.mapped(), Bytes(0)) << "call " << n;
    EXPECT_EQ(host.open_descriptors(), 0u) << "call " << n;
  }
  EXPECT_GT(refused, 0u);
}

TEST(BackingTest, AFileThatCannotServeIsRefusedByName) {
  for (const char* path : {"/nonexistent/backing", "/tmp", "/dev/null"}) {
    try {
      (void)Backing::Create(Host::System(), {BackingKind::kFile, path}, 4_MiB);
      FAIL() << path;
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), ::testing::HasSubstr(path));
    }
  }
}

TEST(BackingTest, HugePagesWantAWholeMultiple) {
  EXPECT_THROW((void)Backing::Create(Host::System(), {BackingKind::kHugetlb, {}}, 3_MiB), UsageError);
}

TEST(BackingTest, TooFewHugePagesAreNoticedBeforeAnybodyFaults) {
  FailingHost host;
  try {
    (void)Backing::Create(host, {BackingKind::kHugetlb, {}}, Bytes(uint64_t{1} << 46));
    GTEST_SKIP() << "this host gave 64 TiB of huge pages";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), ::testing::HasSubstr("huge page"));
  }
  EXPECT_EQ(host.open_descriptors(), 0u);
  EXPECT_EQ(host.mapped(), Bytes(0));
}

}  // namespace
}  // namespace faultline
