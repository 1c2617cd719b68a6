#include "guestmem/shadow_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

#include "tests/guestmem/protocol_world.h"

namespace faultline {
namespace {

class ShadowTableTest : public ::testing::Test {
 protected:
  std::unique_ptr<LeafTable> Fresh() { return std::make_unique<LeafTable>(world_.counters); }
  ProtocolWorld world_;
};

TEST_F(ShadowTableTest, HasOneSlotForEachStretchThatTheRangeTouches) {
  EXPECT_EQ(ShadowTable({Gpa(0), kLeafSpan}, world_.counters).leaf_count(), 1u);
  EXPECT_EQ(ShadowTable({Gpa(0), kLeafSpan * 3}, world_.counters).leaf_count(), 3u);
  EXPECT_EQ(ShadowTable({Gpa(0), kPageSize}, world_.counters).leaf_count(), 1u);
  // Begins and ends in the middle of a stretch.
  const ShadowTable odd({Gpa(kLeafSpan.value - 0x1000), Bytes(0x2000)}, world_.counters);
  EXPECT_EQ(odd.leaf_count(), 2u);
  EXPECT_EQ(odd.IndexOf(Gpa(kLeafSpan.value - 1)), 0u);
  EXPECT_EQ(odd.IndexOf(Gpa(kLeafSpan.value)), 1u);
  EXPECT_EQ(odd.BaseOf(1), Gpa(kLeafSpan.value));
}

TEST_F(ShadowTableTest, ALinkedTableServesItsRegionAndIsFound) {
  const auto region = world_.MakeRegion({Gpa(0), kLeafSpan * 2});
  ShadowTable& shadow = region->shadow();
  EXPECT_EQ(shadow.Find(1), nullptr);
  std::unique_ptr<LeafTable> fresh = Fresh();
  LeafTable* const leaf = fresh.get();
  const ShadowTable::Linked linked = shadow.Link(1, std::move(fresh), *region);
  EXPECT_EQ(linked.leaf, leaf);
  EXPECT_EQ(linked.spare, nullptr);
  EXPECT_EQ(shadow.Find(1), leaf);
  EXPECT_EQ(shadow.Find(0), nullptr);
  EXPECT_EQ(leaf->base(), Gpa(kLeafSpan.value));
  MutexLock<LeafMutex> lock(leaf->lock());
  EXPECT_TRUE(leaf->ServesLocked(region.get(), leaf->approx_generation()));
}

TEST_F(ShadowTableTest, TheFirstTableInASlotWinsAndTheOtherComesBack) {
  const auto region = world_.MakeRegion({Gpa(0), kLeafSpan});
  LeafTable* const first = region->shadow().Link(0, Fresh(), *region).leaf;
  const ShadowTable::Linked second = region->shadow().Link(0, Fresh(), *region);
  EXPECT_EQ(second.leaf, first);
  EXPECT_NE(second.spare, nullptr);
  EXPECT_EQ(world_.counters.live, 1u);
}

TEST_F(ShadowTableTest, NoTableIsLinkedOnceTheRegionHasDied) {
  const auto region = world_.MakeRegion({Gpa(0), kLeafSpan});
  region->AdvanceLife(RegionLife::kDying);
  const ShadowTable::Linked linked = region->shadow().Link(0, Fresh(), *region);
  EXPECT_EQ(linked.leaf, nullptr);
  EXPECT_NE(linked.spare, nullptr);
  EXPECT_EQ(region->shadow().Find(0), nullptr);
  EXPECT_EQ(world_.counters.live, 0u);
}

TEST_F(ShadowTableTest, DetachingEmptiesTheSlotOnce) {
  const auto region = world_.MakeRegion({Gpa(0), kLeafSpan});
  LeafTable* const leaf = region->shadow().Link(0, Fresh(), *region).leaf;
  region->AdvanceLife(RegionLife::kDying);
  const std::unique_ptr<LeafTable> detached = region->shadow().Detach(0);
  EXPECT_EQ(detached.get(), leaf);
  EXPECT_EQ(region->shadow().Find(0), nullptr);
  EXPECT_EQ(region->shadow().Detach(0), nullptr);
  EXPECT_EQ(world_.counters.live, 0u);
}

TEST_F(ShadowTableTest, DestructionFreesWhatIsStillLinked) {
  {
    const auto region = world_.MakeRegion({Gpa(0), kLeafSpan * 4});
    for (const size_t i : {0u, 3u}) region->shadow().Link(i, Fresh(), *region);
    EXPECT_EQ(world_.counters.live, 2u);
  }
  EXPECT_EQ(world_.counters.live, 0u);
  EXPECT_EQ(world_.counters.allocated, world_.counters.freed);
}

TEST_F(ShadowTableTest, OfManyThreadsLinkingOneSlotExactlyOneWins) {
  constexpr int kThreads = 4;
  for (int round = 0; round < 200; ++round) {
    const auto region = world_.MakeRegion({Gpa(0), kLeafSpan});
    std::barrier start(kThreads);
    std::array<ShadowTable::Linked, kThreads> results;
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        std::unique_ptr<LeafTable> fresh = Fresh();
        start.arrive_and_wait();
        results[static_cast<size_t>(i)] = region->shadow().Link(0, std::move(fresh), *region);
      });
    }
    for (std::thread& t : threads) t.join();
    int winners = 0;
    for (const ShadowTable::Linked& r : results) {
      ASSERT_EQ(r.leaf, region->shadow().Find(0));
      winners += r.spare == nullptr ? 1 : 0;
    }
    ASSERT_EQ(winners, 1);
  }
}

TEST_F(ShadowTableTest, AScanThatRacesWithLinksLeavesNothingBehind) {
  constexpr size_t kLeaves = 8;
  for (int round = 0; round < 300; ++round) {
    const auto region = world_.MakeRegion({Gpa(0), kLeafSpan * kLeaves});
    std::barrier start(3);
    std::vector<std::thread> linkers;
    for (int t = 0; t < 2; ++t) {
      linkers.emplace_back([&] {
        start.arrive_and_wait();
        for (size_t i = 0; i < kLeaves; ++i) (void)region->shadow().Link(i, Fresh(), *region);
      });
    }
    start.arrive_and_wait();
    region->AdvanceLife(RegionLife::kDying);
    for (size_t i = 0; i < kLeaves; ++i) (void)region->shadow().Detach(i);
    for (std::thread& t : linkers) t.join();
    for (size_t i = 0; i < kLeaves; ++i) ASSERT_EQ(region->shadow().Find(i), nullptr) << "round " << round;
    ASSERT_EQ(world_.counters.live, 0u);
    ASSERT_EQ(world_.counters.allocated, world_.counters.freed);
  }
}

}  // namespace
}  // namespace faultline
