// One deterministic test for each trap of the design: real userfaults, real unplug, and one step of the
// protocol held while the other side runs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <semaphore>
#include <thread>

#include "guestmem/error.h"
#include "tests/guestmem/failing_host.h"
#include "tests/guestmem/fakes.h"
#include "tests/guestmem/memory_world.h"

namespace faultline {
namespace {

constexpr Gpa kBase{0x100000000};
constexpr Gpa kElsewhere{0x200000000};

Gpa PageAt(uint64_t n) { return kBase + kPageSize * n; }

// A source that answers only when the test says so.
class HeldSource final : public PageSource {
 public:
  explicit HeldSource(uint8_t content) : content_(content) {}
  ~HeldSource() override { Open(); }
  bool may_block() const noexcept override { return true; }
  const std::byte* Direct(Bytes /*offset*/, Bytes /*size*/) noexcept override { return nullptr; }
  int Read(Bytes /*offset*/, std::span<std::byte> out) noexcept override {
    MutexLock lock(mutex_);
    ++asked_;
    changed_.NotifyAll();
    while (!open_) changed_.Wait(mutex_);
    std::fill(out.begin(), out.end(), static_cast<std::byte>(content_));
    ++answered_;
    changed_.NotifyAll();
    return error_;
  }
  void AwaitAsked(unsigned n = 1) {
    MutexLock lock(mutex_);
    while (asked_ < n) changed_.Wait(mutex_);
  }
  void Open(int error = 0) {
    MutexLock lock(mutex_);
    open_ = true;
    error_ = error;
    changed_.NotifyAll();
  }
  void AwaitAnswered(unsigned n = 1) {
    MutexLock lock(mutex_);
    while (answered_ < n) changed_.Wait(mutex_);
  }

 private:
  const uint8_t content_;
  Mutex mutex_;
  CondVar changed_;
  bool open_ GUARDED_BY(mutex_) = false;
  int error_ GUARDED_BY(mutex_) = 0;
  unsigned asked_ GUARDED_BY(mutex_) = 0;
  unsigned answered_ GUARDED_BY(mutex_) = 0;
};

// Lets everybody out who waits for `source` at the end of the scope, so that a test that failed also ends.
class OpenAtEnd {
 public:
  explicit OpenAtEnd(HeldSource& source) : source_(source) {}
  ~OpenAtEnd() { source_.Open(); }

 private:
  HeldSource& source_;
};

// Runs `body` on a thread; joins at the end of the scope.
class Background {
 public:
  template <class F>
  explicit Background(F body) : thread_(std::move(body)) {}
  ~Background() { Join(); }
  void Join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::thread thread_;
};

void ExpectBooksInOrder(GuestMemory& memory) {
  memory.DrainForTest();
  const TableTotals t = memory.table_totals();
  EXPECT_EQ(t.allocated, t.live + t.limbo + t.freed);
}

// --- A memslot's deletion waits for the vCPU that sleeps in a userfault ---

TEST(TrapTest, UnplugReleasesAFaultThatSleepsInASlowSourceBeforeItDeletesTheSlot) {
  MemoryWorld world;
  const auto source = std::make_shared<HeldSource>(uint8_t{7});
  const RegionId id = world.Plug(kBase, kLeafSpan, source);
  std::atomic<SlotAccess> result{SlotAccess::kOk};
  Background vcpu([&] {
    uint8_t byte = 0;
    result = world.slots.Read(PageAt(3), &byte, 1);
  });
  const OpenAtEnd open(*source);
  source->AwaitAsked();
  world.memory.Unplug(id);  // the source has not answered and will not
  EXPECT_FALSE(world.slots.stuck());
  vcpu.Join();
  EXPECT_EQ(result, SlotAccess::kNoSlot);
  ExpectBooksInOrder(world.memory);
}

TEST(TrapTest, UnplugReleasesAFaultWhoseMessageIsInAReadersHands) {
  MemoryWorld world;
  const RegionId id = world.Plug(kBase, kLeafSpan);
  // The reader stops between finding the region and taking a lock, and goes on when the region is gone
  // from the map; the slot is deleted after that.
  world.gate.HoldAt(ProtocolStep::kRegionFound);
  world.gate.set_action([&](ProtocolStep step) {
    if (step == ProtocolStep::kRevoked) world.gate.Release();
  });
  std::atomic<SlotAccess> result{SlotAccess::kOk};
  Background vcpu([&] {
    uint8_t byte = 0;
    result = world.slots.Read(PageAt(3), &byte, 1);
  });
  world.gate.AwaitHeld();
  world.memory.Unplug(id);
  EXPECT_FALSE(world.slots.stuck());
  vcpu.Join();
  EXPECT_EQ(result, SlotAccess::kNoSlot);
  EXPECT_EQ(world.memory.fault_totals().pages, 0u);
  EXPECT_GE(world.memory.fault_totals().revoked, 1u);
  ExpectBooksInOrder(world.memory);
}

TEST(TrapTest, UnplugReleasesAFaultThatIsParkedAfterItsSourceFailed) {
  MemoryWorld world;
  const auto source = std::make_shared<HeldSource>(uint8_t{7});
  const RegionId id = world.Plug(kBase, kLeafSpan, source);
  std::binary_semaphore parked{0};
  world.memory.SetFailureHandler([&](const GuestMemory::FaultFailure& failure) {
    EXPECT_EQ(failure.gpa, PageAt(3));
    EXPECT_EQ(failure.error, EIO);
    EXPECT_FALSE(failure.host);
    parked.release();
  });
  std::atomic<SlotAccess> result{SlotAccess::kOk};
  Background vcpu([&] {
    uint8_t byte = 0;
    result = world.slots.Read(PageAt(3), &byte, 1);
  });
  source->AwaitAsked();
  source->Open(-EIO);
  parked.acquire();
  world.memory.Unplug(id);
  EXPECT_FALSE(world.slots.stuck());
  vcpu.Join();
  EXPECT_EQ(result, SlotAccess::kNoSlot);
  world.memory.RetryFailedFaults();  // of a region that is gone: nothing to do
}

TEST(TrapTest, AccessesIntoADyingRegionFromTheDeadMarkToTheSlotsDeletionAllEnd) {
  MemoryWorld world;
  const RegionId id = world.Plug(kBase, kLeafSpan);
  std::vector<std::thread> vcpus;
  std::vector<SlotAccess> results(4, SlotAccess::kOk);
  size_t started = 0;
  const auto start = [&] {
    vcpus.emplace_back([&, i = started] {
      uint8_t byte = 0;
      results[i] = world.slots.Read(PageAt(100 + i), &byte, 1);
    });
    ++started;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // asleep in its fault, most likely
  };
  world.gate.set_action([&](ProtocolStep step) {
    if (step == ProtocolStep::kDeadMarked || step == ProtocolStep::kUnpublished || step == ProtocolStep::kRevoked) {
      start();
    }
  });
  world.slots.on_unmap = [&](const RegionView&) { start(); };
  world.memory.Unplug(id);
  for (std::thread& t : vcpus) t.join();
  EXPECT_FALSE(world.slots.stuck());
  ASSERT_EQ(started, 4u);
  for (const SlotAccess r : results) EXPECT_EQ(r, SlotAccess::kNoSlot);
  EXPECT_EQ(world.memory.fault_totals().pages, 0u);
}

TEST(TrapTest, RevocationIsAnnouncedBeforeTheDeadMarkAndTheSlotIsDeletedAfterTheRelease) {
  MemoryWorld world;
  const RegionId id = world.Plug(kBase, kLeafSpan);
  std::vector<std::string> order;
  world.slots.on_revoke = [&](const RegionView&) { order.emplace_back("announced"); };
  world.slots.on_unmap = [&](const RegionView&) { order.emplace_back("slot deleted"); };
  world.gate.set_action([&](ProtocolStep step) {
    if (step == ProtocolStep::kDeadMarked) order.emplace_back("dead");
    if (step == ProtocolStep::kRevoked) order.emplace_back("released");
    if (step == ProtocolStep::kLeafDetached) order.emplace_back("scanned");
    if (step == ProtocolStep::kDiscarded) order.emplace_back("discarded");
  });
  EXPECT_EQ(world.ReadByte(PageAt(0)), 0);
  world.memory.Unplug(id);
  EXPECT_EQ(order, (std::vector<std::string>{"announced", "dead", "released", "slot deleted", "scanned", "discarded"}));
}

// --- No fault waits for an unplug, no unplug waits for a fault or a grace period ---

TEST(TrapTest, ABystanderFaultsFreelyAtEveryStepOfAnUnplugAndOfAPlug) {
  MemoryWorld world;
  const RegionId id = world.Plug(kBase, kLeafSpan * 4);
  world.Plug(kElsewhere, kLeafSpan);
  for (uint64_t n = 0; n < 4; ++n) EXPECT_EQ(world.ReadByte(kBase + kLeafSpan * n), 0);
  uint64_t page = 0;
  const std::thread::id control = std::this_thread::get_id();
  const auto touch_elsewhere = [&](ProtocolStep) {
    if (std::this_thread::get_id() != control) return;  // the bystander's own fault
    std::thread bystander([&] { EXPECT_EQ(world.ReadByte(kElsewhere + kPageSize * page), 0); });
    bystander.join();
    std::thread device([&] {
      std::byte byte{};
      EXPECT_EQ(world.memory.Read(kElsewhere + kPageSize * (page + 256), {&byte, 1}), AccessResult::kOk);
    });
    device.join();
    ++page;
  };
  world.gate.set_action(touch_elsewhere);
  world.slots.on_revoke = world.slots.on_plug = [&](const RegionView&) { touch_elsewhere({}); };
  world.memory.Unplug(id);
  EXPECT_GE(page, 10u);
  world.Plug(kBase, kLeafSpan * 4);
  EXPECT_GE(page, 14u);
  EXPECT_FALSE(world.slots.stuck());
}

TEST(TrapTest, UnplugDoesNotWaitForADevicesFaultInsideItsReadSection) {
  for (const ProtocolStep step : {ProtocolStep::kRegionFound, ProtocolStep::kLeafMissing, ProtocolStep::kLeafAllocated,
                                  ProtocolStep::kLeafFound}) {
    MemoryWorld world;
    const RegionId id = world.Plug(kBase, kLeafSpan);
    world.gate.HoldAt(step);
    std::atomic<AccessResult> result{AccessResult::kOk};
    Background device([&] {
      std::byte byte{};
      result = world.memory.Read(PageAt(5), {&byte, 1});
    });
    world.gate.AwaitHeld();
    const UnplugReport report = world.memory.Unplug(id);  // with the reader inside: no grace period can end
    EXPECT_FALSE(world.memory.IsMapped({kBase, kPageSize}));
    world.gate.Release();
    device.Join();
    EXPECT_EQ(result, AccessResult::kNotMapped) << "held at step " << static_cast<int>(step);
    EXPECT_EQ(report.discarded, Bytes(0));
    EXPECT_EQ(world.memory.fault_totals().pages, 0u);
    ExpectBooksInOrder(world.memory);
  }
}

TEST(TrapTest, AReplugDoesNotWaitForAFaultOfTheEarlierIncarnation) {
  MemoryWorld world;
  RegionId id = world.Plug(kBase, kLeafSpan);
  EXPECT_EQ(world.ReadByte(PageAt(0)), 0);
  world.gate.HoldAt(ProtocolStep::kLeafFound);
  std::atomic<AccessResult> result{AccessResult::kNotMapped};
  Background device([&] {
    std::byte byte{};
    result = world.memory.Read(PageAt(5), {&byte, 1});
  });
  world.gate.AwaitHeld();
  for (int i = 0; i < 3; ++i) {
    world.memory.Unplug(id);
    id = world.Plug(kBase, kLeafSpan);
  }
  EXPECT_EQ(world.memory.table_totals().recycled, 3u);
  EXPECT_EQ(world.memory.table_totals().allocated, 1u);
  world.gate.Release();
  device.Join();
  EXPECT_EQ(result, AccessResult::kOk);  // served by the incarnation of now
}

TEST(TrapTest, NothingIsFreedWhileAFaultMayHoldIt) {
  GuestMemoryOptions options = MemoryWorld::Options();
  options.limbo_tables = 0;  // each table leaves limbo at once, by grace period
  MemoryWorld world(options);
  const RegionId id = world.Plug(kBase, kLeafSpan * 4);
  for (uint64_t n = 0; n < 4; ++n) EXPECT_EQ(world.ReadByte(kBase + kLeafSpan * n), 0);
  world.gate.HoldAt(ProtocolStep::kLeafFound);
  Background device([&] {
    std::byte byte{};
    (void)world.memory.Read(kBase + kPageSize, {&byte, 1});
  });
  world.gate.AwaitHeld();
  world.memory.Unplug(id);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // what would free too early does it now
  EXPECT_EQ(world.memory.table_totals().freed, 0u);
  world.gate.Release();
  device.Join();
  world.memory.DrainForTest();
  const TableTotals after = world.memory.table_totals();
  EXPECT_EQ(after.freed, after.allocated);
}

// --- The hole of the seed: a fault on an address without a table, while the region dies ---

TEST(TrapTest, AFaultThatBringsANewTableBailsWhenTheScanHasPassed) {
  MemoryWorld world;
  const RegionId id = world.Plug(kBase, kLeafSpan);
  world.gate.HoldAt(ProtocolStep::kLeafAllocated);
  Background device([&] {
    std::byte byte{};
    EXPECT_EQ(world.memory.Read(PageAt(5), {&byte, 1}), AccessResult::kNotMapped);
  });
  world.gate.AwaitHeld();
  EXPECT_EQ(world.memory.Unplug(id).tables, 0u);
  world.gate.Release();
  device.Join();
  EXPECT_GE(world.memory.fault_totals().dead_bails, 1u);
  EXPECT_EQ(world.memory.table_totals().live, 0u);
  ExpectBooksInOrder(world.memory);
}

TEST(TrapTest, AFaultThatBringsANewTableBailsThoughTheRangeWasPluggedAgain) {
  MemoryWorld world;
  const RegionId id = world.Plug(kBase, kLeafSpan);
  world.gate.HoldAt(ProtocolStep::kLeafAllocated);
  Background device([&] {
    std::byte byte{1};
    EXPECT_EQ(world.memory.Read(PageAt(5), {&byte, 1}), AccessResult::kOk);
    EXPECT_EQ(byte, std::byte{0});
  });
  world.gate.AwaitHeld();
  world.memory.Unplug(id);
  const RegionId next = world.Plug(kBase, kLeafSpan);
  world.gate.Release();
  device.Join();
  EXPECT_GE(world.memory.fault_totals().dead_bails, 1u);  // the dead stay dead
  EXPECT_EQ(world.memory.table_totals().live, 1u);
  world.memory.Unplug(next);
  EXPECT_EQ(world.memory.table_totals().live, 0u);
  ExpectBooksInOrder(world.memory);
}

// --- Plug ---

TEST(TrapTest, AnAccessThatComesTheMomentTheSlotExistsIsServedByASlowSource) {
  MemoryWorld world;
  const auto source = std::make_shared<HeldSource>(uint8_t{0x42});
  source->Open();
  std::atomic<int> seen{-1};
  std::unique_ptr<Background> vcpu;
  // The listener has mapped the range and not returned yet.
  world.slots.after_plug = [&](const RegionView&) {
    vcpu = std::make_unique<Background>([&] { seen = world.ReadByte(PageAt(2)); });
    source->AwaitAnswered();
    while (world.memory.fault_totals().pages == 0 && world.memory.fault_totals().retries == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (++world.polls > 200) break;  // the fill was dropped
    }
  };
  world.Plug(kBase, kLeafSpan, source);
  EXPECT_EQ(world.memory.fault_totals().pages, 1u);
  if (world.memory.fault_totals().pages == 0) world.memory.Unplug(*world.memory.FindRegion(kBase));
  vcpu->Join();
  EXPECT_EQ(seen, 0x42);
}

TEST(TrapTest, APlugThatTheListenerRefusesLeavesNothingThoughTheMemoryWasTouched) {
  MemoryWorld world;
  world.slots.after_plug = [&](const RegionView&) {
    EXPECT_EQ(world.ReadByte(PageAt(2)), 0);
    AccessResult why = AccessResult::kOk;
    EXPECT_FALSE(world.memory.PinRange({PageAt(2), kPageSize}, true, "disk", &why));
    throw Error("no slot is free");
  };
  EXPECT_THROW(world.Plug(kBase, kLeafSpan), Error);
  EXPECT_FALSE(world.memory.IsMapped({kBase, kPageSize}));
  EXPECT_TRUE(world.memory.Regions().empty());
  EXPECT_EQ(world.memory.present_bytes(), Bytes(0));
  EXPECT_EQ(world.memory.table_totals().live, 0u);
  world.slots.after_plug = nullptr;
  world.Plug(kBase, kLeafSpan);
  EXPECT_EQ(world.ReadByte(PageAt(2)), 0);
  ExpectBooksInOrder(world.memory);
}

// --- Devices ---

TEST(TrapTest, ADeviceIsToldThatThePageSourceFailedAndDoesNotWaitForARetry) {
  MemoryWorld world;
  const auto source = std::make_shared<HeldSource>(uint8_t{0x42});
  source->Open(-EIO);
  world.Plug(kBase, kLeafSpan, source);
  std::byte byte{};
  EXPECT_EQ(world.memory.Read(PageAt(2), {&byte, 1}), AccessResult::kSourceError);
  EXPECT_EQ(world.memory.Read(PageAt(2), {&byte, 1}), AccessResult::kSourceError);
  source->Open(0);
  world.memory.RetryFailedFaults();
  EXPECT_EQ(world.memory.Read(PageAt(2), {&byte, 1}), AccessResult::kOk);
  EXPECT_EQ(byte, std::byte{0x42});
}

// --- Validation, generations, revival ---

TEST(TrapTest, ADeadMarkThatFallsBetweenTheLeafLockAndValidationIsSeen) {
  MemoryWorld world;
  const RegionId id = world.Plug(kBase, kLeafSpan);
  EXPECT_EQ(world.ReadByte(PageAt(0)), 0);
  // The reader holds the leaf lock and has not validated; the unplug marks the region dead and then waits
  // for that lock.
  world.gate.set_action([&](ProtocolStep step) {
    if (step == ProtocolStep::kUnpublished) world.gate.Release();
  });
  world.gate.HoldAt(ProtocolStep::kLeafLocked);
  std::atomic<SlotAccess> result{SlotAccess::kOk};
  Background vcpu([&] {
    uint8_t byte = 0;
    result = world.slots.Read(PageAt(5), &byte, 1);
  });
  world.gate.AwaitHeld();
  const uint64_t installed = world.gate.count(ProtocolStep::kPageInstalled);
  world.memory.Unplug(id);
  vcpu.Join();
  EXPECT_EQ(result, SlotAccess::kNoSlot);
  EXPECT_EQ(world.gate.count(ProtocolStep::kPageInstalled), installed);
  ExpectBooksInOrder(world.memory);
}

TEST(TrapTest, AFaultHeldBeforeTheLeafLockInstallsNothingIntoTheRegionThatDiedMeanwhile) {
  MemoryWorld world;
  const RegionId id = world.Plug(kBase, kLeafSpan);
  EXPECT_EQ(world.ReadByte(PageAt(0)), 0);
  const HvaRange host = world.slots.HostRangeAt(kBase);
  world.gate.HoldAt(ProtocolStep::kLeafFound);
  Background device([&] {
    std::byte byte{};
    EXPECT_EQ(world.memory.Read(PageAt(5), {&byte, 1}), AccessResult::kNotMapped);
  });
  world.gate.AwaitHeld();
  world.memory.Unplug(id);
  // The reader keeps the region, and so its mapping, from being freed: the host really gave nothing.
  EXPECT_EQ(ResidentPages(host), 0u);
  world.gate.Release();
  device.Join();
  EXPECT_EQ(world.memory.fault_totals().pages, 1u);
}

TEST(TrapTest, AFillForAnEarlierIncarnationNeverReachesTheNextOne) {
  MemoryWorld world;
  const auto old_source = std::make_shared<HeldSource>(uint8_t{0xaa});
  const RegionId id = world.Plug(kBase, kLeafSpan, old_source);
  Background old_vcpu([&] {
    uint8_t byte = 0;
    EXPECT_EQ(world.slots.Read(PageAt(3), &byte, 1), SlotAccess::kNoSlot);
  });
  old_source->AwaitAsked();
  world.memory.Unplug(id);
  old_vcpu.Join();

  const auto new_source = std::make_shared<HeldSource>(uint8_t{0x55});
  world.Plug(kBase, kLeafSpan, new_source);
  std::atomic<uint8_t> seen{0};
  Background new_vcpu([&] { seen = world.ReadByte(PageAt(3)); });
  new_source->AwaitAsked();  // the same table, the same page, Filling
  const uint64_t retries = world.memory.fault_totals().retries;
  old_source->Open();
  while (world.memory.fault_totals().retries == retries && world.memory.fault_totals().pages == 0) {
    std::this_thread::yield();  // until the stale fill was judged, either way
  }
  EXPECT_EQ(world.memory.fault_totals().pages, 0u);
  new_source->Open();
  new_vcpu.Join();
  EXPECT_EQ(seen, 0x55);
}

TEST(TrapTest, ARangePluggedAgainShowsNoByteOfItsEarlierIncarnation) {
  MemoryWorld world(MemoryWorld::Options(/*fault_around=*/64));
  for (int cycle = 0; cycle < 5; ++cycle) {
    const RegionId id = world.Plug(kBase, kLeafSpan);
    for (uint64_t n = 0; n < kPagesPerLeaf; n += 37) {
      ASSERT_EQ(world.ReadByte(PageAt(n)), 0) << "cycle " << cycle << " page " << n;
      const uint8_t stamp = 0x77;
      ASSERT_EQ(world.slots.Write(PageAt(n), &stamp, 1), SlotAccess::kOk);
      ASSERT_EQ(world.ReadByte(PageAt(n)), 0x77);
    }
    world.memory.Unplug(id);
  }
  EXPECT_EQ(world.memory.table_totals().allocated, 1u);
  EXPECT_EQ(world.memory.table_totals().recycled, 4u);
}

// --- Installing ---

TEST(TrapTest, AGuestsFirstWriteCostsOneFaultAndNotASecondForTheZeroPage) {
  MemoryWorld world;
  world.Plug(kBase, kLeafSpan);
  for (uint64_t n = 0; n < 50; ++n) {
    const uint64_t value = n;
    ASSERT_EQ(world.slots.Write(PageAt(n), &value, sizeof(value)), SlotAccess::kOk);
  }
  const FaultTotals totals = world.memory.fault_totals();
  EXPECT_EQ(totals.faults, 50u);
  EXPECT_EQ(totals.writes, 50u);
  EXPECT_EQ(totals.spurious, 0u);
}

TEST(TrapTest, AWindowOverPagesThatTheHostHasAlreadyIsInstalledAroundThem) {
  FailingHost host;
  MemoryWorld world(MemoryWorld::Options(/*fault_around=*/16), host);
  world.Plug(kBase, kLeafSpan);
  const HvaRange region = world.slots.HostRangeAt(kBase);
  // Somebody else installs pages 3 and 9 right under the handler's first install.
  std::atomic<bool> done{false};
  static std::byte other_page[4096];
  std::fill(std::begin(other_page), std::end(other_page), std::byte{0x33});
  host.set_before([&](const HostCall& call) {
    if (call.kind != HostCallKind::kIoctl || call.detail != UFFDIO_COPY || done.exchange(true)) return;
    for (const uint64_t n : {3u, 9u}) {
      uffdio_copy copy{};
      copy.dst = (region.start + kPageSize * n).value;
      copy.src = ToHva(other_page).value;
      copy.len = kPageSize.value;
      EXPECT_EQ(ioctl(call.fd, UFFDIO_COPY, &copy), 0);
    }
  });
  EXPECT_EQ(world.ReadByte(PageAt(5)), 0);
  // The vCPU goes on as soon as its own page is there; the window is finished behind it.
  while (world.memory.present_bytes() < kPageSize * 16) std::this_thread::yield();
  EXPECT_EQ(ResidentPages(region), 16u);
  EXPECT_EQ(world.ReadByte(PageAt(3)), 0x33);  // not overwritten
  EXPECT_EQ(world.ReadByte(PageAt(9)), 0x33);
  EXPECT_EQ(world.memory.present_bytes(), kPageSize * 16);
  EXPECT_EQ(world.memory.fault_totals().faults, 1u);
}

TEST(TrapTest, AnInstallThatTheKernelPutsOffIsTriedAgain) {
  FailingHost host;
  MemoryWorld world(MemoryWorld::Options(/*fault_around=*/16), host);
  world.Plug(kBase, kLeafSpan);
  host.Arm(1, EAGAIN, Ioctls(UFFDIO_COPY), 3);
  EXPECT_EQ(world.ReadByte(PageAt(5)), 0);
  EXPECT_EQ(host.fired(), 3u);
  while (world.memory.present_bytes() < kPageSize * 16) std::this_thread::yield();
}

TEST(TrapTest, AHostOutOfMemoryParksTheFaultAndARetryServesIt) {
  FailingHost host;
  MemoryWorld world(MemoryWorld::Options(), host);
  world.Plug(kBase, kLeafSpan);
  std::binary_semaphore parked{0};
  world.memory.SetFailureHandler([&](const GuestMemory::FaultFailure& failure) {
    EXPECT_TRUE(failure.host);
    EXPECT_EQ(failure.error, ENOMEM);
    parked.release();
  });
  host.Arm(1, ENOMEM, Ioctls(UFFDIO_COPY));
  std::atomic<int> seen{-1};
  Background vcpu([&] { seen = world.ReadByte(PageAt(5)); });
  parked.acquire();
  EXPECT_EQ(seen, -1);
  EXPECT_EQ(world.slots.inside(), 1u);
  world.memory.RetryFailedFaults();
  vcpu.Join();
  EXPECT_EQ(seen, 0);
}

// --- Roll-back ---

TEST(TrapTest, AnUnplugThatTheSlotRefusesLeavesContentsAndBlockedFaultsAsTheyWere) {
  MemoryWorld world;
  const auto source = std::make_shared<HeldSource>(uint8_t{0x42});
  const RegionId id = world.Plug(kBase, kLeafSpan, source);
  // Page 1 is present, page 2 absent and claimed by a slow fill, the rest untouched.
  Background filler([&] {
    source->AwaitAsked();
    source->Open();
  });
  const uint32_t mine = 0xfeedbeef;
  ASSERT_EQ(world.slots.Write(PageAt(1), &mine, sizeof(mine)), SlotAccess::kOk);
  filler.Join();

  world.slots.on_unmap = [](const RegionView&) { throw Error("the slot table is busy"); };
  std::atomic<int> seen{-1};
  std::unique_ptr<Background> vcpu;
  world.slots.on_revoke = [&](const RegionView&) {
    vcpu = std::make_unique<Background>([&] { seen = world.ReadByte(PageAt(2)); });
  };
  try {
    world.memory.Unplug(id);
    FAIL() << "the unplug should have failed";
  } catch (const Error& e) {
    EXPECT_THAT(std::string(e.what()),
                ::testing::AllOf(::testing::HasSubstr("dimm"), ::testing::HasSubstr("the slot table is busy")));
  }
  vcpu->Join();
  EXPECT_EQ(seen, 0x42);
  uint32_t back = 0;
  ASSERT_EQ(world.slots.Read(PageAt(1), &back, sizeof(back)), SlotAccess::kOk);
  EXPECT_EQ(back, mine);
  EXPECT_EQ(world.ReadByte(PageAt(99)), 0x42);
  ASSERT_EQ(world.memory.Regions().size(), 1u);
  EXPECT_EQ(world.memory.Regions()[0].id, world.slots.restored());
  EXPECT_NE(world.slots.restored(), id);

  world.slots.on_unmap = nullptr;
  world.slots.on_revoke = nullptr;
  EXPECT_THROW(world.memory.Unplug(id), UsageError);  // that incarnation is over
  world.memory.Unplug(world.slots.restored());
  EXPECT_FALSE(world.slots.stuck());
  ExpectBooksInOrder(world.memory);
}

TEST(TrapTest, ARolledBackUnplugRestoresAFaultThatSleptInASlowSource) {
  MemoryWorld world;
  const auto source = std::make_shared<HeldSource>(uint8_t{0x42});
  const RegionId id = world.Plug(kBase, kLeafSpan, source);
  std::atomic<int> seen{-1};
  Background vcpu([&] { seen = world.ReadByte(PageAt(2)); });
  source->AwaitAsked();
  world.slots.on_unmap = [](const RegionView&) { throw Error("busy"); };
  EXPECT_THROW(world.memory.Unplug(id), Error);
  source->Open();
  vcpu.Join();
  EXPECT_EQ(seen, 0x42);
}

}  // namespace
}  // namespace faultline
