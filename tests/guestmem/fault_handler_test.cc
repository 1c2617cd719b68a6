#include "guestmem/fault_handler.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/guestmem/protocol_world.h"

namespace faultline {
namespace {

constexpr Gpa kBase{0x40000000};
constexpr GpaRange kStretch{kBase, kLeafSpan};

Gpa PageAt(uint64_t n) { return kBase + kPageSize * n; }

std::byte ByteAt(const Region& region, Gpa gpa) { return *ToPointer(region.ToHva(gpa)); }

// Completes a held claim as its source would.
void Complete(ProtocolWorld& world, const FillClaim& claim) {
  std::vector<std::byte> data(kPageSize.value * claim.pages);
  const int error = claim.source->Read(claim.offset, data);
  world.handler.CompleteFill(claim, data.data(), -error, world.stats);
}

TEST(FaultHandlerTest, AnAddressInNoRegionIsNotMapped) {
  ProtocolWorld world;
  world.Plug(kStretch);
  EXPECT_EQ(world.handler.Handle(kBase - Bytes(1), false, 0, world.stats), FaultOutcome::kNotMapped);
  EXPECT_EQ(world.handler.Handle(kStretch.end(), false, 0, world.stats), FaultOutcome::kNotMapped);
  EXPECT_EQ(world.counters.allocated, 0u);
}

TEST(FaultHandlerTest, TheFirstFaultOnAPageInstallsItAndTheSecondWakesWhoWaits) {
  ProtocolWorld world;
  const Region& region = world.Plug(kStretch);
  FakeInstaller& installer = ProtocolWorld::InstallerOf(region);
  EXPECT_EQ(world.handler.Handle(PageAt(3) + Bytes(17), true, 0, world.stats), FaultOutcome::kInstalled);
  EXPECT_EQ(installer.there, std::set<uint64_t>{region.ToHva(PageAt(3)).value});
  EXPECT_EQ(world.handler.Handle(PageAt(3), false, 0, world.stats), FaultOutcome::kSpurious);
  EXPECT_EQ(installer.copies, 1u);
  EXPECT_TRUE(installer.Woke(region.ToHva(PageAt(3))));
  EXPECT_EQ(world.stats.pages.value(), 1u);
  EXPECT_EQ(world.stats.writes.value(), 1u);
  EXPECT_EQ(world.stats.spurious.value(), 1u);
}

TEST(FaultHandlerTest, OneTableServesAllPagesOfItsStretch) {
  ProtocolWorld world;
  world.Plug({kBase, kLeafSpan * 2});
  for (const uint64_t n : {0u, 511u, 1u, 512u, 1023u}) {
    ASSERT_EQ(world.handler.Handle(PageAt(n), false, 0, world.stats), FaultOutcome::kInstalled) << n;
  }
  EXPECT_EQ(world.counters.live, 2u);
}

TEST(FaultHandlerTest, TwoRegionsInOneStretchHaveTablesOfTheirOwn) {
  ProtocolWorld world;
  const Region& low = world.Plug({kBase, 1_MiB});
  const Region& high = world.Plug({kBase + 1_MiB, 1_MiB});
  EXPECT_EQ(world.handler.Handle(PageAt(255), false, 0, world.stats), FaultOutcome::kInstalled);
  EXPECT_EQ(world.handler.Handle(PageAt(256), false, 0, world.stats), FaultOutcome::kInstalled);
  EXPECT_EQ(ProtocolWorld::InstallerOf(low).there.size(), 1u);
  EXPECT_EQ(ProtocolWorld::InstallerOf(high).there.size(), 1u);
  EXPECT_EQ(world.counters.live, 2u);
}

// --- The region dies under the fault ---

TEST(FaultHandlerTest, ATableIsNotLinkedIntoARegionThatDiedWhileItWasAllocated) {
  ProtocolWorld* world = nullptr;
  Region* region = nullptr;
  ActAt unplug(ProtocolStep::kLeafAllocated, [&] { world->Unplug(*region); });
  ProtocolWorld w({.pages = 1}, &unplug);
  world = &w;
  region = &w.Plug(kStretch);
  FakeInstaller& installer = ProtocolWorld::InstallerOf(*region);
  const std::shared_ptr<PageInstaller> keep = region->memory().installer;
  EXPECT_EQ(w.handler.Handle(PageAt(0), false, 0, w.stats), FaultOutcome::kNotMapped);
  ASSERT_TRUE(unplug.acted());
  EXPECT_EQ(w.stats.dead_bails.value(), 1u);
  EXPECT_EQ(w.counters.live, 0u);
  EXPECT_EQ(w.counters.freed, 1u);  // the table that was not linked
  EXPECT_EQ(installer.copies, 0u);
}

TEST(FaultHandlerTest, ATableThatWasFoundBeforeTheUnplugIsNotUsedAfterIt) {
  ProtocolWorld* world = nullptr;
  Region* region = nullptr;
  ActAt unplug(
      ProtocolStep::kLeafFound, [&] { world->Unplug(*region); }, 2);
  ProtocolWorld w({.pages = 1}, &unplug);
  world = &w;
  region = &w.Plug(kStretch);
  FakeInstaller& installer = ProtocolWorld::InstallerOf(*region);
  const std::shared_ptr<PageInstaller> keep = region->memory().installer;
  ASSERT_EQ(w.handler.Handle(PageAt(0), false, 0, w.stats), FaultOutcome::kInstalled);
  EXPECT_EQ(w.handler.Handle(PageAt(1), false, 0, w.stats), FaultOutcome::kNotMapped);
  ASSERT_TRUE(unplug.acted());
  EXPECT_EQ(installer.copies, 1u);
  EXPECT_EQ(w.stats.retries.value(), 1u);
}

TEST(FaultHandlerTest, ValidationComesAfterTheLeafLock) {
  ProtocolWorld* world = nullptr;
  Region* region = nullptr;
  // The dead mark needs no lock: it may fall between any two instructions of the fault.
  ActAt mark(ProtocolStep::kLeafLocked, [&] {
    region->AdvanceLife(RegionLife::kDying);
    world->regions.Commit(world->regions.PrepareErase(region));
  });
  ProtocolWorld w({.pages = 1}, &mark);
  world = &w;
  region = &w.Plug(kStretch);
  EXPECT_EQ(w.handler.Handle(PageAt(0), false, 0, w.stats), FaultOutcome::kNotMapped);
  ASSERT_TRUE(mark.acted());
  EXPECT_EQ(ProtocolWorld::InstallerOf(*region).copies, 0u);
  w.domain.Retire(std::unique_ptr<RcuObject>(region));
}

TEST(FaultHandlerTest, AStaleFaultRetriesIntoTheIncarnationThatTookItsTableBack) {
  ProtocolWorld* world = nullptr;
  Region* old_region = nullptr;
  Region* new_region = nullptr;
  ActAt replug(ProtocolStep::kLeafFound, [&] {
    world->Unplug(*old_region);
    std::unique_ptr<Region> next = world->MakeRegion(kStretch);
    std::unique_ptr<LeafTable> table = world->limbo.TakeBack(kBase);
    ASSERT_NE(table, nullptr);
    (void)next->shadow().Link(0, std::move(table), *next);
    new_region = &world->Plug(std::move(next));
  });
  ProtocolWorld w({.pages = 1}, &replug);
  world = &w;
  old_region = &w.Plug(kStretch);
  FakeInstaller& old_installer = ProtocolWorld::InstallerOf(*old_region);
  const std::shared_ptr<PageInstaller> keep = old_region->memory().installer;
  EXPECT_EQ(w.handler.Handle(PageAt(9), false, 0, w.stats), FaultOutcome::kInstalled);
  ASSERT_TRUE(replug.acted());
  EXPECT_EQ(old_installer.copies, 0u);
  EXPECT_EQ(ProtocolWorld::InstallerOf(*new_region).there.size(), 1u);
  EXPECT_EQ(w.stats.retries.value(), 1u);
  EXPECT_EQ(w.counters.allocated, 1u);
  EXPECT_EQ(w.counters.recycled, 1u);
}

// --- Slow sources ---

TEST(FaultHandlerTest, ASlowSourceIsReadWithNoLockHeldAndOutsideTheReadSection) {
  ProtocolWorld world;
  const auto source = std::make_shared<StampSource>(uint8_t{1});
  const Region& region = world.Plug(kStretch, source);
  EXPECT_EQ(world.handler.Handle(PageAt(4), false, 0, world.stats), FaultOutcome::kPending);
  EXPECT_EQ(source->reads, 0u);
  ASSERT_EQ(world.fills.claims.size(), 1u);
  world.domain.Barrier();  // would never end inside a read section
  LeafTable* const leaf = region.shadow().Find(0);
  if (leaf->lock().TryLock()) {
    EXPECT_TRUE(leaf->FillingLocked(4));
    leaf->lock().Unlock();
  } else {
    ADD_FAILURE() << "the leaf lock is held";
  }
}

TEST(FaultHandlerTest, ASecondFaultOnAPageThatIsBeingFilledAsksNobody) {
  ProtocolWorld world;
  world.Plug(kStretch, std::make_shared<StampSource>(uint8_t{1}));
  EXPECT_EQ(world.handler.Handle(PageAt(4), false, 0, world.stats), FaultOutcome::kPending);
  EXPECT_EQ(world.handler.Handle(PageAt(4), true, 0, world.stats), FaultOutcome::kPending);
  EXPECT_EQ(world.fills.claims.size(), 1u);
}

TEST(FaultHandlerTest, WhatTheSlowSourceReadIsInstalled) {
  ProtocolWorld world;
  const auto source = std::make_shared<StampSource>(uint8_t{100});
  const Region& region = world.Plug(kStretch, source);
  (void)world.handler.Handle(PageAt(4), false, 0, world.stats);
  Complete(world, world.fills.claims.at(0));
  EXPECT_EQ(ByteAt(region, PageAt(4) + Bytes(99)), source->Stamp(4));
  EXPECT_EQ(world.handler.Handle(PageAt(4), false, 0, world.stats), FaultOutcome::kSpurious);
  EXPECT_EQ(world.stats.latency.count(), 1u);
}

TEST(FaultHandlerTest, AFillOfAnEarlierIncarnationIsDroppedThoughTheTableAndThePageLookTheSame) {
  ProtocolWorld world;
  Region& first = world.Plug(kStretch, std::make_shared<StampSource>(uint8_t{1}));
  ASSERT_EQ(world.handler.Handle(PageAt(4), false, 0, world.stats), FaultOutcome::kPending);
  world.Unplug(first);

  const auto source = std::make_shared<StampSource>(uint8_t{101});
  std::unique_ptr<Region> next = world.MakeRegion(kStretch, source);
  (void)next->shadow().Link(0, world.limbo.TakeBack(kBase), *next);
  const Region& second = world.Plug(std::move(next));
  ASSERT_EQ(world.handler.Handle(PageAt(4), false, 0, world.stats), FaultOutcome::kPending);
  ASSERT_EQ(world.fills.claims.size(), 2u);

  Complete(world, world.fills.claims[0]);  // the stale one
  EXPECT_EQ(ProtocolWorld::InstallerOf(second).copies, 0u);
  Complete(world, world.fills.claims[1]);
  EXPECT_EQ(ByteAt(second, PageAt(4)), source->Stamp(4));
  EXPECT_EQ(world.stats.retries.value(), 1u);
}

TEST(FaultHandlerTest, AFillThatComesBackAfterTheUnplugChangesNothing) {
  ProtocolWorld world;
  Region& region = world.Plug(kStretch, std::make_shared<StampSource>(uint8_t{1}));
  FakeInstaller& installer = ProtocolWorld::InstallerOf(region);
  const std::shared_ptr<PageInstaller> keep = region.memory().installer;
  (void)world.handler.Handle(PageAt(4), false, 0, world.stats);
  world.Unplug(region);
  Complete(world, world.fills.claims.at(0));
  EXPECT_EQ(installer.copies, 0u);
  EXPECT_TRUE(world.failures.failures.empty());
}

TEST(FaultHandlerTest, AFillBetweenTheDeadMarkAndTheScanIsDropped) {
  ProtocolWorld world;
  Region& region = world.Plug(kStretch, std::make_shared<StampSource>(uint8_t{1}));
  (void)world.handler.Handle(PageAt(4), false, 0, world.stats);
  region.AdvanceLife(RegionLife::kDying);  // still in the map
  Complete(world, world.fills.claims.at(0));
  EXPECT_EQ(ProtocolWorld::InstallerOf(region).copies, 0u);
  world.regions.Commit(world.regions.PrepareErase(&region));
  world.domain.Retire(std::unique_ptr<RcuObject>(&region));
}

TEST(FaultHandlerTest, AFillOverPagesThatARollBackEmptiedIsDropped) {
  ProtocolWorld world;
  Region& region = world.Plug(kStretch, std::make_shared<StampSource>(uint8_t{1}));
  (void)world.handler.Handle(PageAt(4), false, 0, world.stats);
  {
    LeafTable& leaf = *region.shadow().Find(0);
    MutexLock<LeafMutex> lock(leaf.lock());
    leaf.TransferLocked(&region);
  }
  Complete(world, world.fills.claims.at(0));
  EXPECT_EQ(ProtocolWorld::InstallerOf(region).copies, 0u);
  EXPECT_EQ(world.handler.Handle(PageAt(4), false, 0, world.stats), FaultOutcome::kPending);
  EXPECT_EQ(world.fills.claims.size(), 2u);
}

TEST(FaultHandlerTest, ASlowSourceIsAskedForABoundedPieceThatHoldsThePage) {
  for (const unsigned around : {1u, 16u, 512u}) {
    for (const uint64_t n : {0u, 300u, 511u}) {
      ProtocolWorld world({.pages = around});
      world.Plug(kStretch, std::make_shared<StampSource>(uint8_t{1}));
      ASSERT_EQ(world.handler.Handle(PageAt(n), false, 0, world.stats), FaultOutcome::kPending);
      const FillClaim& claim = world.fills.claims.at(0);
      EXPECT_LE(claim.pages, 64u) << "window " << around << " page " << n;
      EXPECT_TRUE((GpaRange{claim.gpa, kPageSize * claim.pages}.Contains(PageAt(n))));
    }
  }
}

// --- Failures ---

TEST(FaultHandlerTest, ASourceThatFailsParksItsPagesUntilSomebodyRetries) {
  ProtocolWorld world;
  const auto source = std::make_shared<StampSource>(uint8_t{1});
  const Region& region = world.Plug(kStretch, source);
  (void)world.handler.Handle(PageAt(4), false, 0, world.stats);
  source->error = EIO;
  Complete(world, world.fills.claims.at(0));
  ASSERT_EQ(world.failures.failures.size(), 1u);
  EXPECT_EQ(world.failures.failures[0].claim.gpa, PageAt(4));
  EXPECT_EQ(world.failures.failures[0].error, EIO);
  EXPECT_FALSE(world.failures.failures[0].host);
  EXPECT_EQ(world.stats.source_errors.value(), 1u);
  // Parked: nobody asks again by himself.
  EXPECT_EQ(world.handler.Handle(PageAt(4), false, 0, world.stats), FaultOutcome::kPending);
  EXPECT_EQ(world.fills.claims.size(), 1u);

  source->error = 0;
  world.handler.Unpark(world.failures.failures[0].claim);
  EXPECT_TRUE(ProtocolWorld::InstallerOf(region).Woke(region.ToHva(PageAt(4))));
  EXPECT_EQ(world.handler.Handle(PageAt(4), false, 0, world.stats), FaultOutcome::kPending);
  Complete(world, world.fills.claims.at(1));
  EXPECT_EQ(ByteAt(region, PageAt(4)), source->Stamp(4));
}

TEST(FaultHandlerTest, AHostThatHasNoPageParksTheFaultAndARetrySucceeds) {
  ProtocolWorld world;
  const Region& region = world.Plug(kStretch);
  FakeInstaller& installer = ProtocolWorld::InstallerOf(region);
  installer.refuse_at = 1;
  EXPECT_EQ(world.handler.Handle(PageAt(4), false, 0, world.stats), FaultOutcome::kParked);
  ASSERT_EQ(world.failures.failures.size(), 1u);
  EXPECT_TRUE(world.failures.failures[0].host);
  EXPECT_EQ(world.failures.failures[0].error, ENOMEM);
  installer.refuse_at = 0;
  world.handler.Unpark(world.failures.failures[0].claim);
  EXPECT_EQ(world.handler.Handle(PageAt(4), false, 0, world.stats), FaultOutcome::kInstalled);
}

TEST(FaultHandlerTest, UnparkingAfterTheRegionWasReplacedTouchesNothing) {
  ProtocolWorld world;
  Region& first = world.Plug(kStretch, std::make_shared<StampSource>(uint8_t{1}));
  (void)world.handler.Handle(PageAt(4), false, 0, world.stats);
  const FillClaim stale = world.fills.claims.at(0);
  world.Unplug(first);
  world.handler.Unpark(stale);
  std::unique_ptr<Region> next = world.MakeRegion(kStretch, std::make_shared<StampSource>(uint8_t{2}));
  (void)next->shadow().Link(0, world.limbo.TakeBack(kBase), *next);
  const Region& second = world.Plug(std::move(next));
  (void)world.handler.Handle(PageAt(4), false, 0, world.stats);
  world.handler.Unpark(stale);
  LeafTable& leaf = *second.shadow().Find(0);
  MutexLock<LeafMutex> lock(leaf.lock());
  EXPECT_TRUE(leaf.FillingLocked(4));
}

TEST(FaultHandlerTest, AQueueThatTakesNoMoreParksTheFault) {
  ProtocolWorld world;
  world.Plug(kStretch, std::make_shared<StampSource>(uint8_t{1}));
  world.fills.full = true;
  EXPECT_EQ(world.handler.Handle(PageAt(4), false, 0, world.stats), FaultOutcome::kParked);
  ASSERT_EQ(world.failures.failures.size(), 1u);
  EXPECT_TRUE(world.failures.failures[0].host);
  world.fills.full = false;
  world.handler.Unpark(world.failures.failures[0].claim);
  EXPECT_EQ(world.handler.Handle(PageAt(4), false, 0, world.stats), FaultOutcome::kPending);
}

TEST(FaultHandlerTest, PagesThatAreAlreadyAtTheHostAreSkippedOneByOne) {
  ProtocolWorld world({.pages = 16});
  const Region& region = world.Plug(kStretch);
  FakeInstaller& installer = ProtocolWorld::InstallerOf(region);
  for (const uint64_t n : {3u, 7u, 8u, 15u}) installer.there.insert(region.ToHva(PageAt(n)).value);
  EXPECT_EQ(world.handler.Handle(PageAt(7), true, 0, world.stats), FaultOutcome::kInstalled);
  EXPECT_EQ(installer.there.size(), 16u);
  EXPECT_EQ(world.stats.pages.value(), 12u);
  EXPECT_TRUE(installer.Woke(region.ToHva(PageAt(7))));
  LeafTable& leaf = *region.shadow().Find(0);
  MutexLock<LeafMutex> lock(leaf.lock());
  EXPECT_EQ(leaf.population_locked(), 16u);
}

TEST(FaultHandlerTest, AWindowThatTheHostCutsShortKeepsWhatWasInstalled) {
  ProtocolWorld world({.pages = 16});
  const Region& region = world.Plug(kStretch);
  FakeInstaller& installer = ProtocolWorld::InstallerOf(region);
  installer.refuse_at = 6;
  EXPECT_EQ(world.handler.Handle(PageAt(2), false, 0, world.stats), FaultOutcome::kInstalled);
  EXPECT_EQ(installer.there.size(), 5u);
  EXPECT_EQ(world.stats.pages.value(), 5u);
  EXPECT_TRUE(world.failures.failures.empty());
  installer.refuse_at = 0;
  EXPECT_EQ(world.handler.Handle(PageAt(5), false, 0, world.stats), FaultOutcome::kInstalled);
  EXPECT_EQ(installer.there.size(), 16u);
}

TEST(FaultHandlerTest, AnAddressSpaceThatNeverSettlesEndsInABoundedRetry) {
  ProtocolWorld world;
  const Region& region = world.Plug(kStretch);
  FakeInstaller& installer = ProtocolWorld::InstallerOf(region);
  installer.refuse_at = 1;
  installer.refusal = InstallResult::kBusy;
  EXPECT_EQ(world.handler.Handle(PageAt(0), false, 0, world.stats), FaultOutcome::kRetry);
  EXPECT_LE(installer.copies, 64u * FaultHandler::kMaxRetries);
  EXPECT_TRUE(world.failures.failures.empty());
  installer.refuse_at = 0;
  EXPECT_EQ(world.handler.Handle(PageAt(0), false, 0, world.stats), FaultOutcome::kInstalled);
}

// --- Windows ---

TEST(FaultHandlerTest, AWindowNeverLeavesItsRegion) {
  for (const unsigned around : {FaultAround::kAuto, 16u, 512u}) {
    ProtocolWorld world({.pages = around});
    // In the middle of a stretch, with room before and after.
    const GpaRange range{kBase + kPageSize * 100, kPageSize * 10};
    const Region& region = world.Plug(range);
    for (uint64_t n = 100; n < 110; ++n) (void)world.handler.Handle(PageAt(n), false, 0, world.stats);
    EXPECT_EQ(ProtocolWorld::InstallerOf(region).there.size(), 10u);
    for (const uint64_t hva : ProtocolWorld::InstallerOf(region).there) {
      EXPECT_TRUE(region.hva().Contains(Hva(hva)));
    }
  }
}

TEST(FaultHandlerTest, ASequentialStreamTakesFarFewerFaultsThanPages) {
  ProtocolWorld world({.pages = FaultAround::kAuto});
  const Region& region = world.Plug({kBase, kLeafSpan * 8});
  FakeInstaller& installer = ProtocolWorld::InstallerOf(region);
  for (uint64_t n = 0; n < 8 * kPagesPerLeaf; ++n) {
    if (installer.there.count(region.ToHva(PageAt(n)).value) == 0) {
      ASSERT_EQ(world.handler.Handle(PageAt(n), true, 0, world.stats), FaultOutcome::kInstalled);
    }
  }
  EXPECT_EQ(installer.there.size(), 8u * kPagesPerLeaf);
  EXPECT_LE(world.stats.faults.value(), 20u);
}

TEST(FaultHandlerTest, RandomAccessBringsOnePageAFault) {
  ProtocolWorld world({.pages = FaultAround::kAuto});
  const Region& region = world.Plug({kBase, kLeafSpan * 64});
  std::mt19937 random(11);
  unsigned faults = 0;
  for (; faults < 300; ++faults) {
    (void)world.handler.Handle(PageAt(random() % (64 * kPagesPerLeaf)), true, 0, world.stats);
  }
  EXPECT_LE(ProtocolWorld::InstallerOf(region).there.size(), faults + 30);
}

TEST(FaultHandlerTest, AHugeGranuleIsInstalledWhole) {
  ProtocolWorld world({.pages = 1});
  const Region& region = world.Plug(world.MakeRegion({kBase, kLeafSpan * 2}, MakeZeroSource(), kLeafSpan));
  EXPECT_EQ(world.handler.Handle(PageAt(700), true, 0, world.stats), FaultOutcome::kInstalled);
  EXPECT_EQ(ProtocolWorld::InstallerOf(region).copies, 1u);
  EXPECT_EQ(ProtocolWorld::InstallerOf(region).there.size(), kPagesPerLeaf);
  EXPECT_EQ(*ProtocolWorld::InstallerOf(region).there.begin(), region.ToHva(PageAt(512)).value);
}

TEST(FaultHandlerTest, WhateverIsPresentOrFillingAClaimCoversOnlyAbsentPagesAndItsOwn) {
  std::mt19937 random(13);
  for (int round = 0; round < 300; ++round) {
    const unsigned arounds[] = {FaultAround::kAuto, 1, 4, 16, 64, 512};
    ProtocolWorld world({.pages = arounds[random() % 6]});
    const uint64_t first = random() % 400;
    const uint64_t count = 1 + random() % (512 - first);
    const Region& region = world.Plug({PageAt(first), kPageSize * count}, std::make_shared<StampSource>(uint8_t{1}));
    std::set<uint64_t> taken;
    for (int i = 0; i < 40; ++i) {
      const uint64_t n = first + random() % count;
      const size_t before = world.fills.claims.size();
      (void)world.handler.Handle(PageAt(n), false, 0, world.stats);
      ASSERT_EQ(world.fills.claims.size(), before + (taken.count(n) == 0 ? 1 : 0));
      if (world.fills.claims.size() == before) continue;
      const FillClaim claim = world.fills.claims.back();
      ASSERT_TRUE(region.gpa().Contains(GpaRange{claim.gpa, kPageSize * claim.pages}));
      ASSERT_EQ(claim.offset, claim.gpa - region.gpa().start);
      bool own = false;
      for (uint64_t p = 0; p < claim.pages; ++p) {
        const uint64_t page = (claim.gpa - kBase) / kPageSize + p;
        ASSERT_TRUE(taken.insert(page).second) << "page " << page << " claimed twice";
        own = own || page == n;
      }
      ASSERT_TRUE(own);
      if (random() % 2 == 0) Complete(world, claim);
    }
  }
}

// --- A device's copy ---

TEST(FaultHandlerTest, ADevicesCopyRunsOnlyOverAPresentPageOfALiveRegion) {
  ProtocolWorld world;
  Region& region = world.Plug(kStretch);
  unsigned runs = 0;
  const auto body = [&](std::byte* page) {
    ++runs;
    EXPECT_EQ(page, ToPointer(region.ToHva(PageAt(2))));
  };
  const RcuDomain::ReadGuard guard(world.domain);
  EXPECT_EQ(world.handler.WithPresentPage(region, PageAt(2), world.stats, body), FaultOutcome::kRetry);
  (void)world.handler.Handle(PageAt(2), false, 0, world.stats);
  EXPECT_EQ(world.handler.WithPresentPage(region, PageAt(2) + Bytes(8), world.stats, body), FaultOutcome::kInstalled);
  world.Unplug(region);
  EXPECT_EQ(world.handler.WithPresentPage(region, PageAt(2), world.stats, body), FaultOutcome::kRetry);
  EXPECT_EQ(runs, 1u);
}

}  // namespace
}  // namespace faultline
