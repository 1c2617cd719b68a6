#include "guestmem/region_list.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <random>
#include <thread>

namespace faultline {
namespace {

struct Thing {
  int value = 0;
};
using List = RegionList<Gpa, Thing>;

Thing* Find(List& list, RcuDomain& domain, uint64_t address) {
  const RcuDomain::ReadGuard guard(domain);
  const List::Entry* entry = list.Lookup(Gpa(address));
  return entry == nullptr ? nullptr : entry->value;
}

TEST(RegionListTest, FindsNothingWhenEmpty) {
  RcuDomain domain;
  List list(domain);
  EXPECT_EQ(Find(list, domain, 0), nullptr);
  EXPECT_EQ(Find(list, domain, ~uint64_t{0}), nullptr);
}

TEST(RegionListTest, FindsARangeByEachOfItsBytesAndNotByItsNeighbours) {
  RcuDomain domain;
  List list(domain);
  Thing a;
  Thing b;
  list.Commit(list.PrepareInsert({Gpa(0x3000), Bytes(0x1000)}, &b));
  list.Commit(list.PrepareInsert({Gpa(0x1000), Bytes(0x1000)}, &a));
  EXPECT_EQ(Find(list, domain, 0xfff), nullptr);
  EXPECT_EQ(Find(list, domain, 0x1000), &a);
  EXPECT_EQ(Find(list, domain, 0x1fff), &a);
  EXPECT_EQ(Find(list, domain, 0x2000), nullptr);
  EXPECT_EQ(Find(list, domain, 0x3000), &b);
  EXPECT_EQ(Find(list, domain, 0x4000), nullptr);
  EXPECT_EQ(list.size(), 2u);
}

TEST(RegionListTest, ASnapshotThatIsNotCommittedChangesNothing) {
  RcuDomain domain;
  List list(domain);
  Thing a;
  (void)list.PrepareInsert({Gpa(0), Bytes(0x1000)}, &a);
  EXPECT_EQ(Find(list, domain, 0), nullptr);
  list.Commit(list.PrepareInsert({Gpa(0), Bytes(0x1000)}, &a));
  (void)list.PrepareErase(&a);
  EXPECT_EQ(Find(list, domain, 0), &a);
}

TEST(RegionListTest, ReplacingKeepsTheRangeAndChangesWhatStandsForIt) {
  RcuDomain domain;
  List list(domain);
  Thing a;
  Thing b;
  list.Commit(list.PrepareInsert({Gpa(0x1000), Bytes(0x1000)}, &a));
  list.Commit(list.PrepareReplace(&a, &b));
  EXPECT_EQ(Find(list, domain, 0x1000), &b);
  EXPECT_EQ(list.size(), 1u);
}

TEST(RegionListTest, ReportsAnOverlapByOneByteAndNoneBetweenNeighbours) {
  RcuDomain domain;
  List list(domain);
  Thing a;
  list.Commit(list.PrepareInsert({Gpa(0x2000), Bytes(0x2000)}, &a));
  EXPECT_EQ(list.FindOverlap({Gpa(0x1000), Bytes(0x1000)}), nullptr);
  EXPECT_EQ(list.FindOverlap({Gpa(0x4000), Bytes(0x1000)}), nullptr);
  for (const GpaRange range : {GpaRange{Gpa(0x3fff), Bytes(1)}, GpaRange{Gpa(0x1fff), Bytes(2)}}) {
    const List::Entry* const overlap = list.FindOverlap(range);
    EXPECT_TRUE(overlap != nullptr && overlap->value == &a);
  }
}

TEST(RegionListTest, AgreesWithAnOrderedMapOverRandomInsertsAndErases) {
  RcuDomain domain;
  List list(domain);
  std::mt19937_64 random(3);
  std::vector<Thing> things(400);
  std::map<uint64_t, std::pair<uint64_t, Thing*>> truth;  // start → size, thing
  for (int round = 0; round < 800; ++round) {
    const size_t i = random() % things.size();
    const uint64_t start = i * 0x10000;
    if (truth.count(start) == 0) {
      const uint64_t size = 0x1000 * (1 + random() % 16);
      truth[start] = {size, &things[i]};
      list.Commit(list.PrepareInsert({Gpa(start), Bytes(size)}, &things[i]));
    } else {
      truth.erase(start);
      list.Commit(list.PrepareErase(&things[i]));
    }
    for (int probe = 0; probe < 20; ++probe) {
      const uint64_t address = random() % (things.size() * 0x10000);
      auto it = truth.upper_bound(address);
      Thing* want = nullptr;
      if (it != truth.begin()) {
        --it;
        if (address - it->first < it->second.first) want = it->second.second;
      }
      ASSERT_EQ(Find(list, domain, address), want) << std::hex << address;
    }
  }
  ASSERT_EQ(list.size(), truth.size());
}

TEST(RegionListTest, AReaderSeesEitherTheOldOrTheNewSnapshotNeverAMixture) {
  RcuDomain domain;
  List list(domain);
  Thing fixed;
  Thing moving;
  list.Commit(list.PrepareInsert({Gpa(0x100000), Bytes(0x1000)}, &fixed));
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        ASSERT_EQ(Find(list, domain, 0x100000), &fixed);
        Thing* const seen = Find(list, domain, 0x5000);
        ASSERT_TRUE(seen == nullptr || seen == &moving);
      }
    });
  }
  for (int i = 0; i < 1000; ++i) {
    list.Commit(list.PrepareInsert({Gpa(0x5000), Bytes(0x1000)}, &moving));
    list.Commit(list.PrepareErase(&moving));
  }
  stop = true;
  for (std::thread& t : readers) t.join();
}

}  // namespace
}  // namespace faultline
