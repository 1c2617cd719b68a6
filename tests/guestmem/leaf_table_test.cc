#include "guestmem/leaf_table.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/guestmem/protocol_world.h"

namespace faultline {
namespace {

constexpr GpaRange kStretch{Gpa(0x40000000), kLeafSpan};

class LeafTableTest : public ::testing::Test {
 protected:
  ProtocolWorld world_;
  std::unique_ptr<Region> region_ = world_.MakeRegion(kStretch);
  std::unique_ptr<Region> successor_ = world_.MakeRegion(kStretch);
};

TEST_F(LeafTableTest, IsEmptyAndServesNobodyAtFirst) {
  LeafTable leaf(world_.counters);
  MutexLock<LeafMutex> lock(leaf.lock());
  EXPECT_EQ(leaf.population_locked(), 0u);
  EXPECT_FALSE(leaf.AnyFillingLocked());
  for (unsigned page = 0; page < kPagesPerLeaf; ++page) ASSERT_TRUE(leaf.AbsentLocked(page));
  EXPECT_FALSE(leaf.ServesLocked(region_.get(), leaf.approx_generation()));
}

TEST_F(LeafTableTest, APageGoesFromAbsentOverFillingToPresentAndIsCountedOnce) {
  LeafTable leaf(world_.counters);
  MutexLock<LeafMutex> lock(leaf.lock());
  for (const unsigned page : {0u, 63u, 64u, 511u}) {
    leaf.SetFillingLocked(page);
    EXPECT_TRUE(leaf.FillingLocked(page));
    EXPECT_FALSE(leaf.PresentLocked(page));
    leaf.SetPresentLocked(page);
    leaf.SetPresentLocked(page);
    EXPECT_TRUE(leaf.PresentLocked(page));
    EXPECT_FALSE(leaf.FillingLocked(page));
  }
  EXPECT_EQ(leaf.population_locked(), 4u);
  EXPECT_EQ(leaf.approx_population(), 4u);
  EXPECT_TRUE(leaf.AbsentLocked(1));
  EXPECT_TRUE(leaf.AbsentLocked(62));
  EXPECT_TRUE(leaf.AbsentLocked(65));
}

TEST_F(LeafTableTest, EachServiceHasAGenerationThatNoOtherServiceOfAnyTableHad) {
  LeafTable a(world_.counters);
  LeafTable b(world_.counters);
  std::set<uint64_t> seen;
  for (int round = 0; round < 50; ++round) {
    for (LeafTable* leaf : {&a, &b}) {
      MutexLock<LeafMutex> lock(leaf->lock());
      leaf->AdoptLocked(region_.get(), kStretch.start);
      EXPECT_TRUE(seen.insert(leaf->approx_generation()).second);
      EXPECT_TRUE(leaf->ServesLocked(region_.get(), leaf->approx_generation()));
      leaf->RetireServiceLocked();
      EXPECT_EQ(seen.count(leaf->approx_generation()), 0u);
    }
  }
}

TEST_F(LeafTableTest, TheSameOwnerAgainIsNotTheServiceThatWasSeenBefore) {
  LeafTable leaf(world_.counters);
  MutexLock<LeafMutex> lock(leaf.lock());
  leaf.AdoptLocked(region_.get(), kStretch.start);
  const uint64_t seen = leaf.approx_generation();
  leaf.RetireServiceLocked();
  EXPECT_FALSE(leaf.ServesLocked(region_.get(), seen));
  leaf.AdoptLocked(region_.get(), kStretch.start);
  EXPECT_FALSE(leaf.ServesLocked(region_.get(), seen));
}

TEST_F(LeafTableTest, EndingTheServiceEmptiesTheTable) {
  LeafTable leaf(world_.counters);
  MutexLock<LeafMutex> lock(leaf.lock());
  leaf.AdoptLocked(region_.get(), kStretch.start);
  leaf.SetPresentLocked(3);
  leaf.SetFillingLocked(4);
  leaf.RetireServiceLocked();
  EXPECT_EQ(leaf.population_locked(), 0u);
  EXPECT_TRUE(leaf.AbsentLocked(3));
  EXPECT_TRUE(leaf.AbsentLocked(4));
}

TEST_F(LeafTableTest, ATransferKeepsPresentPagesAndForgetsFillsAndFaultsUnderWay) {
  LeafTable leaf(world_.counters);
  MutexLock<LeafMutex> lock(leaf.lock());
  leaf.AdoptLocked(region_.get(), kStretch.start);
  const uint64_t seen = leaf.approx_generation();
  leaf.SetPresentLocked(3);
  leaf.SetFillingLocked(4);
  leaf.TransferLocked(successor_.get());
  EXPECT_TRUE(leaf.PresentLocked(3));
  EXPECT_TRUE(leaf.AbsentLocked(4));
  EXPECT_FALSE(leaf.ServesLocked(region_.get(), seen));
  EXPECT_FALSE(leaf.ServesLocked(successor_.get(), seen));
  EXPECT_TRUE(leaf.ServesLocked(successor_.get(), leaf.approx_generation()));
}

TEST_F(LeafTableTest, TablesAreCountedFromTheHeapAndBack) {
  {
    LeafTable a(world_.counters);
    LeafTable b(world_.counters);
    EXPECT_EQ(world_.counters.allocated, 2u);
    EXPECT_EQ(world_.counters.freed, 0u);
  }
  EXPECT_EQ(world_.counters.freed, 2u);
}

#ifndef NDEBUG
TEST_F(LeafTableTest, TakingOverATableThatIsNotEmptyIsCaught) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        LeafTable leaf(world_.counters);
        MutexLock<LeafMutex> lock(leaf.lock());
        leaf.SetPresentLocked(0);
        leaf.AdoptLocked(region_.get(), kStretch.start);
      },
      "must be empty");
}
#endif

}  // namespace
}  // namespace faultline
