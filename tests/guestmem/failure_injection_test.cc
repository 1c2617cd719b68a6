// Each allocation and each call of the host fails once, at every place where it may, during plug, fault
// and unplug: afterwards everything is as before, the failure was said in a sentence, nothing leaked, and
// the same request succeeds.

#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <atomic>
#include <semaphore>
#include <thread>

#include "guestmem/error.h"
#include "tests/guestmem/allocation_failure.h"
#include "tests/guestmem/failing_host.h"
#include "tests/guestmem/fakes.h"
#include "tests/guestmem/memory_world.h"

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

namespace faultline {
namespace {

constexpr Gpa kBase{0x100000000};
constexpr Gpa kNeighbour{0x200000000};

// What must be the same before and after a request that failed.
struct State {
  size_t regions;
  Bytes present;
  Bytes mapped;
  size_t descriptors;
  uint64_t live;
  uint8_t neighbour;

  bool operator==(const State&) const = default;
};

class FailureInjectionTest : public ::testing::TestWithParam<const char*> {
 protected:
  FailureInjectionTest() {
    host_.set_ioctl_that_opens(USERFAULTFD_IOC_NEW);
    world_ = std::make_unique<MemoryWorld>(MemoryWorld::Options(/*fault_around=*/4), host_);
    world_->Plug(kNeighbour, 2_MiB);
    const uint8_t stamp = 0x5c;
    EXPECT_EQ(world_->slots.Write(kNeighbour, &stamp, 1), SlotAccess::kOk);
    // One cycle, so that limbo has tables and every lazy allocation has happened.
    const RegionId id = Plug();
    Touch();
    world_->memory.Unplug(id);
  }

  RegionId Plug() { return world_->Plug(kBase, 8_MiB, nullptr, ParseBackingSpec(GetParam())); }
  void Touch() {
    for (uint64_t n = 0; n < 4; ++n) EXPECT_EQ(world_->ReadByte(kBase + kLeafSpan * n), 0);
  }
  // With everything that waits for a grace period gone.
  State Now() {
    world_->memory.DrainForTest();
    return {world_->memory.Regions().size(), world_->memory.present_bytes(),     host_.mapped(),
            host_.open_descriptors(),        world_->memory.table_totals().live, world_->ReadByte(kNeighbour)};
  }
  // Until the window of the last fault is in the books.
  State Settled() {
    State now = Now();
    for (;;) {
      const State again = Now();
      if (again == now) return now;
      now = again;
    }
  }
  static HostCallFilter Relevant() {
    return [mine = CallsOfThisThread()](const HostCall& call) {
      // A whole mapping can always be unmapped; nothing could be done about it otherwise.
      return mine(call) && call.kind != HostCallKind::kMunmap;
    };
  }

  FailingHost host_;
  std::unique_ptr<MemoryWorld> world_;
};
INSTANTIATE_TEST_SUITE_P(Backings, FailureInjectionTest, ::testing::Values("anonymous", "memfd"));

TEST_P(FailureInjectionTest, APlugWhoseHostCallFailsLeavesNothingAndSucceedsWhenRetried) {
  const State before = Settled();
  unsigned refused = 0;
  for (uint64_t n = 1;; ++n) {
    host_.Arm(n, ENOMEM, Relevant());
    std::optional<RegionId> id;
    try {
      id = Plug();
    } catch (const Error& e) {
      ++refused;
      EXPECT_GT(std::string(e.what()).size(), 20u);
    }
    const bool fired = host_.fired() != 0;
    host_.Disarm();
    if (!id) {
      ASSERT_EQ(Settled(), before) << "call " << n;
      id = Plug();
    }
    Touch();
    world_->memory.Unplug(*id);
    ASSERT_EQ(Settled(), before) << "call " << n;
    if (!fired) break;
  }
  EXPECT_GE(refused, 3u);
}

TEST_P(FailureInjectionTest, APlugWithoutMemoryLeavesNothingAndSucceedsWhenRetried) {
  const State before = Settled();
  unsigned refused = 0;
  for (uint64_t n = 1;; ++n) {
    std::optional<RegionId> id;
    bool fired = false;
    try {
      AllocationFailure::Arm(n);
      id = Plug();
      fired = AllocationFailure::Disarm();
    } catch (const std::bad_alloc&) {
      fired = AllocationFailure::Disarm();
      ++refused;
    } catch (const Error&) {
      fired = AllocationFailure::Disarm();
      ++refused;
    }
    if (!id) {
      ASSERT_EQ(Settled(), before) << "allocation " << n;
      id = Plug();
    }
    Touch();
    world_->memory.Unplug(*id);
    ASSERT_EQ(Settled(), before) << "allocation " << n;
    if (!fired) break;
  }
  EXPECT_GE(refused, 5u);
}

TEST_P(FailureInjectionTest, AnUnplugWhoseHostCallFailsOnceEndsAllTheSame) {
  const State before = Settled();
  for (uint64_t n = 1;; ++n) {
    const RegionId id = Plug();
    Touch();
    const HvaRange range = world_->slots.HostRangeAt(kBase);
    size_t resident = 1;
    world_->gate.set_action([&](ProtocolStep step) {
      if (step == ProtocolStep::kDiscarded) resident = ResidentPages(range);
    });
    host_.Arm(n, EINTR, CallsOfThisThread());
    world_->memory.Unplug(id);
    const bool fired = host_.fired() != 0;
    host_.Disarm();
    world_->gate.set_action(nullptr);
    EXPECT_EQ(resident, 0u) << "call " << n;
    ASSERT_EQ(Settled(), before) << "call " << n;
    if (!fired) break;
  }
}

TEST_P(FailureInjectionTest, AnUnplugWithoutMemoryChangesNothingAndSucceedsWhenRetried) {
  for (uint64_t n = 1;; ++n) {
    const RegionId id = Plug();
    Touch();
    const State before = Settled();
    bool done = true;
    bool fired = false;
    try {
      AllocationFailure::Arm(n);
      world_->memory.Unplug(id);
      fired = AllocationFailure::Disarm();
    } catch (const std::bad_alloc&) {
      fired = AllocationFailure::Disarm();
      done = false;
    }
    if (!done) {
      ASSERT_EQ(Settled(), before) << "allocation " << n;
      AccessResult why = AccessResult::kOk;
      EXPECT_TRUE(world_->memory.PinRange({kBase, kPageSize}, true, "disk", &why)) << "allocation " << n;
      world_->memory.Unplug(id);
    }
    EXPECT_FALSE(world_->memory.IsMapped({kBase, kPageSize}));
    if (!fired) {
      EXPECT_GE(n, 5u);
      break;
    }
  }
}

TEST_P(FailureInjectionTest, ARefusedSlotDeletionIsRolledBackWhateverAllocationFails) {
  for (uint64_t n = 1;; ++n) {
    const RegionId id = Plug();
    Touch();
    const uint8_t stamp = 0x77;
    ASSERT_EQ(world_->slots.Write(kBase, &stamp, 1), SlotAccess::kOk);
    world_->slots.on_unmap = [](const RegionView&) {
      const NoAllocationFailure quiet;
      throw Error("busy");
    };
    bool fired = false;
    try {
      AllocationFailure::Arm(n);
      world_->memory.Unplug(id);
      (void)AllocationFailure::Disarm();
      FAIL() << "the slot was not refused";
    } catch (const std::exception&) {
      fired = AllocationFailure::Disarm();
    }
    world_->slots.on_unmap = nullptr;
    ASSERT_EQ(world_->memory.Regions().size(), 2u) << "allocation " << n;
    EXPECT_EQ(world_->ReadByte(kBase), 0x77) << "allocation " << n;
    EXPECT_EQ(world_->ReadByte(kBase + kPageSize * 300), 0) << "allocation " << n;
    world_->memory.Unplug(*world_->memory.FindRegion(kBase));
    if (!fired) break;
  }
}

TEST_P(FailureInjectionTest, ARollBackWhoseHostCallFailsOnceRestoresEverything) {
  for (uint64_t n = 1;; ++n) {
    const RegionId id = Plug();
    Touch();
    world_->slots.on_unmap = [](const RegionView&) { throw Error("busy"); };
    host_.Arm(n, EINTR, CallsOfThisThread());
    EXPECT_THROW(world_->memory.Unplug(id), Error);
    const bool fired = host_.fired() != 0;
    host_.Disarm();
    world_->slots.on_unmap = nullptr;
    for (uint64_t page = 0; page < 30; ++page) {
      ASSERT_EQ(world_->ReadByte(kBase + kPageSize * page), 0) << "call " << n << " page " << page;
    }
    world_->memory.Unplug(*world_->memory.FindRegion(kBase));
    if (!fired) break;
  }
}

TEST_P(FailureInjectionTest, AFaultEndsWhicheverCallOfItsReaderFailsOnce) {
  const std::thread::id me = std::this_thread::get_id();
  const RegionId id = Plug();
  std::atomic<unsigned> parked{0};
  world_->memory.SetFailureHandler([&](const GuestMemory::FaultFailure&) { ++parked; });
  uint64_t page = 0;
  for (const int error : {EINTR, EAGAIN, ENOMEM, EIO}) {
    for (uint64_t n = 1; n <= 8; ++n) {
      host_.Arm(n, error, [me](const HostCall& call) { return call.thread != me; });
      parked = 0;
      std::atomic<int> seen{-1};
      std::thread vcpu([&] { seen = world_->ReadByte(kBase + kPageSize * page); });
      while (seen < 0) {
        if (parked.exchange(0) != 0) world_->memory.RetryFailedFaults();
        std::this_thread::yield();
      }
      vcpu.join();
      ASSERT_EQ(seen, 0) << "call " << n << " errno " << error;
      host_.Disarm();
      page += 8;
    }
  }
  world_->memory.SetFailureHandler(nullptr);
  world_->memory.Unplug(id);
  EXPECT_FALSE(world_->slots.stuck());
}

TEST_P(FailureInjectionTest, ADevicesFaultWithoutMemoryForATableSucceedsOnItsOwn) {
  world_->memory.DrainForTest();  // no table in limbo to fall back on
  const RegionId id = Plug();
  for (uint64_t n = 1; n <= 6; ++n) {
    std::byte byte{1};
    AllocationFailure::Arm(n);
    const AccessResult result = world_->memory.Read(kBase + kLeafSpan * (n % 4) + kPageSize * n, {&byte, 1});
    (void)AllocationFailure::Disarm();
    EXPECT_EQ(result, AccessResult::kOk) << "allocation " << n;
    EXPECT_EQ(byte, std::byte{0});
  }
  world_->memory.Unplug(id);
}

TEST_P(FailureInjectionTest, ASlowFillWithoutMemoryIsReportedOrServedNeverLost) {
  for (uint64_t n = 1; n <= 6; ++n) {
    const auto source = std::make_shared<StampSource>(uint8_t{3});
    const RegionId id = world_->Plug(kBase, 2_MiB, source, ParseBackingSpec(GetParam()));
    std::byte byte{1};
    AllocationFailure::Arm(n);
    AccessResult result = world_->memory.Read(kBase + kPageSize * n, {&byte, 1});
    (void)AllocationFailure::Disarm();
    if (result != AccessResult::kOk) {
      EXPECT_EQ(result, AccessResult::kHostError) << "allocation " << n;
      world_->memory.RetryFailedFaults();
      result = world_->memory.Read(kBase + kPageSize * n, {&byte, 1});
    }
    EXPECT_EQ(result, AccessResult::kOk) << "allocation " << n;
    EXPECT_EQ(byte, source->Stamp(n));
    world_->memory.Unplug(id);
  }
}

TEST(FailureAtStartTest, EachHostCallThatFailsIsReportedAndLeavesNothingOpen) {
  for (uint64_t n = 1;; ++n) {
    FailingHost host;
    host.set_ioctl_that_opens(USERFAULTFD_IOC_NEW);
    NullListener listener;
    host.Arm(n, EPERM, CallsOfThisThread());
    try {
      const GuestMemory memory(host, listener, MemoryWorld::Options());
      host.Disarm();
    } catch (const Error& e) {
      EXPECT_GT(std::string(e.what()).size(), 20u);
    }
    EXPECT_EQ(host.open_descriptors(), 0u) << "call " << n;
    EXPECT_EQ(host.mapped(), Bytes(0)) << "call " << n;
    if (host.fired() == 0) {
      EXPECT_GE(n, 5u);
      break;
    }
  }
}

TEST(FailureAtStartTest, EachAllocationThatFailsLeavesNothingOpen) {
  for (uint64_t n = 1;; ++n) {
    FailingHost host;
    host.set_ioctl_that_opens(USERFAULTFD_IOC_NEW);
    NullListener listener;
    bool fired = false;
    try {
      const GuestMemoryOptions options = MemoryWorld::Options();
      AllocationFailure::Arm(n);
      const GuestMemory memory(host, listener, options);
      fired = AllocationFailure::Disarm();
    } catch (const std::exception&) {
      fired = AllocationFailure::Disarm();
    }
    EXPECT_EQ(host.open_descriptors(), 0u) << "allocation " << n;
    EXPECT_EQ(host.mapped(), Bytes(0)) << "allocation " << n;
    if (!fired) {
      EXPECT_GE(n, 5u);
      break;
    }
  }
}

TEST(AllocationFailureTest, FailsTheChosenAllocationOfThisThreadAndNoOther) {
  // Through functions: a compiler may leave out a new expression whose result is not used.
  std::binary_semaphore armed{0};
  std::thread other([&] {
    armed.acquire();
    ::operator delete(::operator new(8));
  });
  AllocationFailure::Arm(2);
  void* const first = ::operator new(8);
  armed.release();
  other.join();
  EXPECT_THROW(::operator delete(::operator new(8)), std::bad_alloc);
  EXPECT_TRUE(AllocationFailure::Disarm());
  ::operator delete(first);
  AllocationFailure::Arm(1);
  EXPECT_EQ(::operator new(8, std::nothrow), nullptr);
  EXPECT_TRUE(AllocationFailure::Disarm());
}

}  // namespace
}  // namespace faultline
