#include "guestmem/table_limbo.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <thread>

#include "tests/guestmem/protocol_world.h"

namespace faultline {
namespace {

Gpa Stretch(uint64_t n) { return Gpa(n * kLeafSpan.value); }

class TableLimboTest : public ::testing::Test {
 protected:
  static constexpr size_t kCap = 8;

  // An empty table that served `base` once.
  std::unique_ptr<LeafTable> Used(Gpa base) {
    auto leaf = std::make_unique<LeafTable>(world_.counters);
    MutexLock<LeafMutex> lock(leaf->lock());
    leaf->AdoptLocked(region_.get(), base);
    leaf->RetireServiceLocked();
    return leaf;
  }
  uint64_t OnHeap() const { return world_.counters.allocated - world_.counters.freed; }

  ProtocolWorld world_{{.pages = 1}, nullptr, kCap};
  std::unique_ptr<Region> region_ = world_.MakeRegion({Gpa(0), kLeafSpan});
  TableLimbo& limbo_ = world_.limbo;
};

TEST_F(TableLimboTest, GivesATableBackToItsStretchOnceAndToNoOther) {
  std::unique_ptr<LeafTable> table = Used(Stretch(5));
  LeafTable* const raw = table.get();
  limbo_.Put(std::move(table));
  EXPECT_EQ(limbo_.size(), 1u);
  EXPECT_EQ(limbo_.TakeBack(Stretch(4)), nullptr);
  EXPECT_EQ(limbo_.TakeBack(Stretch(5 + 1024)), nullptr);  // the same hash bucket
  const std::unique_ptr<LeafTable> back = limbo_.TakeBack(Stretch(5));
  EXPECT_EQ(back.get(), raw);
  EXPECT_EQ(limbo_.TakeBack(Stretch(5)), nullptr);
  EXPECT_EQ(world_.counters.recycled, 1u);
  EXPECT_EQ(limbo_.size(), 0u);
}

TEST_F(TableLimboTest, TakesBackWhileReadersOfTheOldLifeAreStillInside) {
  const RcuDomain::ReadGuard old_fault(world_.domain);
  limbo_.Put(Used(Stretch(1)));
  EXPECT_NE(limbo_.TakeBack(Stretch(1)), nullptr);
}

TEST_F(TableLimboTest, LendsATableToAnotherStretchOnlyAfterItsGracePeriod) {
  LeafTable* raw = nullptr;
  {
    const RcuDomain::ReadGuard old_fault(world_.domain);
    std::unique_ptr<LeafTable> table = Used(Stretch(1));
    raw = table.get();
    limbo_.Put(std::move(table));
    const std::unique_ptr<LeafTable> fresh = limbo_.Allocate();
    EXPECT_NE(fresh.get(), raw);
    EXPECT_EQ(limbo_.size(), 1u);
  }
  world_.domain.Barrier();
  const std::unique_ptr<LeafTable> reused = limbo_.Allocate();
  EXPECT_EQ(reused.get(), raw);
  EXPECT_EQ(limbo_.size(), 0u);
}

TEST_F(TableLimboTest, BeyondItsCapTheOldestGoesFirst) {
  for (uint64_t i = 0; i < kCap + 3; ++i) limbo_.Put(Used(Stretch(i)));
  EXPECT_EQ(limbo_.size(), kCap);
  for (uint64_t i = 0; i < 3; ++i) EXPECT_EQ(limbo_.TakeBack(Stretch(i)), nullptr) << i;
  EXPECT_NE(limbo_.TakeBack(Stretch(3)), nullptr);
  world_.domain.Barrier();
  EXPECT_EQ(OnHeap(), kCap - 1);
}

TEST_F(TableLimboTest, ATablePushedOutByTheCapIsNotFreedWhileAReaderMayHoldIt) {
  {
    const RcuDomain::ReadGuard old_fault(world_.domain);
    for (uint64_t i = 0; i < kCap + 3; ++i) limbo_.Put(Used(Stretch(i)));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // what would free too early does it now
    EXPECT_EQ(world_.counters.freed, 0u);
  }
  world_.domain.Barrier();
  EXPECT_EQ(world_.counters.freed, 3u);
}

TEST_F(TableLimboTest, ClearingFreesNothingThatAReaderMayHold) {
  {
    const RcuDomain::ReadGuard old_fault(world_.domain);
    limbo_.Put(Used(Stretch(1)));
    limbo_.Clear();
    EXPECT_EQ(limbo_.size(), 0u);
    EXPECT_EQ(world_.counters.freed, 0u);
  }
  world_.domain.Barrier();
  EXPECT_EQ(world_.counters.freed, 1u);
}

TEST_F(TableLimboTest, KeepsAnExpiredTableForAWhileAndThenFreesItUnasked) {
  limbo_.Put(Used(Stretch(1)));
  world_.domain.Barrier();
  EXPECT_TRUE(limbo_.Expire());
  EXPECT_EQ(limbo_.size(), 1u);
  std::this_thread::sleep_for(TableLimbo::kLinger + std::chrono::milliseconds(10));
  EXPECT_FALSE(limbo_.Expire());
  EXPECT_EQ(limbo_.size(), 0u);
  EXPECT_EQ(world_.counters.freed, 1u);
}

TEST_F(TableLimboTest, ATableThatLingeredIsStillNotFreedUnderAReader) {
  {
    const RcuDomain::ReadGuard old_fault(world_.domain);
    limbo_.Put(Used(Stretch(1)));
    std::this_thread::sleep_for(TableLimbo::kLinger + std::chrono::milliseconds(10));
    EXPECT_TRUE(limbo_.Expire());
    EXPECT_EQ(world_.counters.freed, 0u);
  }
}

TEST_F(TableLimboTest, ATableThatComesASecondTimeWaitsForASecondGracePeriod) {
  limbo_.Put(Used(Stretch(1)));
  world_.domain.Barrier();  // the first one is over
  std::unique_ptr<LeafTable> back = limbo_.TakeBack(Stretch(1));
  LeafTable* const raw = back.get();
  const RcuDomain::ReadGuard newer_fault(world_.domain);
  limbo_.Put(std::move(back));
  const std::unique_ptr<LeafTable> other = limbo_.Allocate();
  EXPECT_NE(other.get(), raw);
}

TEST_F(TableLimboTest, HoldsTwoTablesOfOneStretchAndGivesEachBackOnce) {
  limbo_.Put(Used(Stretch(7)));
  limbo_.Put(Used(Stretch(7)));
  const auto a = limbo_.TakeBack(Stretch(7));
  const auto b = limbo_.TakeBack(Stretch(7));
  ASSERT_NE(a, nullptr);
  ASSERT_NE(b, nullptr);
  EXPECT_NE(a.get(), b.get());
  EXPECT_EQ(limbo_.TakeBack(Stretch(7)), nullptr);
}

TEST_F(TableLimboTest, OverRandomUseEveryTableIsSomewhereExactlyOnce) {
  std::mt19937_64 random(5);
  std::vector<std::unique_ptr<LeafTable>> outside;
  for (int step = 0; step < 5000; ++step) {
    switch (random() % 4) {
      case 0:
      case 1:
        limbo_.Put(Used(Stretch(random() % 3 * 1024 + random() % 4)));
        break;
      case 2:
        if (auto table = limbo_.TakeBack(Stretch(random() % 3 * 1024 + random() % 4)))
          outside.push_back(std::move(table));
        break;
      case 3:
        if (random() % 8 == 0) world_.domain.Barrier();
        outside.push_back(limbo_.Allocate());
        if (outside.size() > 20) outside.clear();
        break;
    }
    ASSERT_LE(limbo_.size(), kCap);
  }
  world_.domain.Barrier();
  EXPECT_EQ(OnHeap(), outside.size() + limbo_.size());
}

}  // namespace
}  // namespace faultline
