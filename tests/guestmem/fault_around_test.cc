#include "guestmem/fault_around.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/guestmem/protocol_world.h"

namespace faultline {
namespace {

using Stream = LeafTable::Stream;

Stream After(PageWindow w) { return {static_cast<uint16_t>(w.end()), static_cast<uint16_t>(w.count)}; }

TEST(FaultAroundTest, BeginsWithOnePage) {
  const PageWindow w = NextWindow(17, {}, nullptr);
  EXPECT_EQ(w.first, 17u);
  EXPECT_EQ(w.count, 1u);
}

TEST(FaultAroundTest, GrowsWhileEachFaultFollowsTheLastWindow) {
  PageWindow w = NextWindow(0, {}, nullptr);
  unsigned last = w.count;
  unsigned faults = 1;
  while (w.end() < kPagesPerLeaf) {
    w = NextWindow(w.end(), After(w), nullptr);
    if (w.end() < kPagesPerLeaf) {
      EXPECT_GT(w.count, last);
    }
    last = w.count;
    ++faults;
  }
  EXPECT_LE(faults, 8u);  // a whole table in a handful of faults, instead of 512
}

TEST(FaultAroundTest, IsOnePageAgainAfterAFaultElsewhere) {
  const Stream wide{.next = 85, .window = 64};
  EXPECT_EQ(NextWindow(84, wide, nullptr).count, 1u);
  EXPECT_EQ(NextWindow(86, wide, nullptr).count, 1u);
  EXPECT_GT(NextWindow(85, wide, nullptr).count, 64u);
}

TEST(FaultAroundTest, StaysInsideTheTableWhateverTheStreamSays) {
  std::mt19937 random(7);
  for (int i = 0; i < 100'000; ++i) {
    const Stream s{.next = static_cast<uint16_t>(random() % 513), .window = static_cast<uint16_t>(random() % 513)};
    const unsigned page = random() % kPagesPerLeaf;
    const PageWindow w = NextWindow(page, s, nullptr);
    ASSERT_EQ(w.first, page);
    ASSERT_GE(w.count, 1u);
    ASSERT_LE(w.end(), kPagesPerLeaf);
  }
}

TEST(FaultAroundTest, AStreamGoesOnIntoTheNextTable) {
  ProtocolWorld world;
  LeafTable previous(world.counters);
  {
    MutexLock<LeafMutex> lock(previous.lock());
    previous.SetStreamLocked({.next = kPagesPerLeaf, .window = 256});
  }
  EXPECT_GT(NextWindow(0, {}, &previous).count, 256u);
  EXPECT_EQ(NextWindow(1, {}, &previous).count, 1u);  // not where the stream would go on
  {
    MutexLock<LeafMutex> lock(previous.lock());
    previous.SetStreamLocked({.next = 100, .window = 64});
  }
  EXPECT_EQ(NextWindow(0, {}, &previous).count, 1u);  // the stream before did not reach its end
}

TEST(FaultAroundTest, AFixedWindowIsAlignedAndHoldsThePage) {
  for (const unsigned pages : {1u, 2u, 16u, 64u, 512u, 3u, 100u}) {
    for (unsigned page = 0; page < kPagesPerLeaf; ++page) {
      const PageWindow w = FixedWindow(page, pages);
      ASSERT_LE(w.first, page);
      ASSERT_GT(w.end(), page);
      ASSERT_LE(w.end(), kPagesPerLeaf);
      ASSERT_EQ(w.first % pages, 0u);
      ASSERT_LE(w.count, pages);
    }
  }
}

}  // namespace
}  // namespace faultline
