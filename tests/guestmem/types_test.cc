#include "guestmem/types.h"

#include <gtest/gtest.h>

#include <limits>
#include <type_traits>

namespace faultline {
namespace {

constexpr uint64_t kMaxAddress = std::numeric_limits<uint64_t>::max();

// Mixing up the kinds must not compile.
static_assert(!std::is_convertible_v<Gpa, Hva>);
static_assert(!std::is_convertible_v<Hva, Gpa>);
static_assert(!std::is_convertible_v<uint64_t, Gpa>);
static_assert(!std::is_convertible_v<uint64_t, Bytes>);
static_assert(!std::is_convertible_v<Gfn, Gpa>);
static_assert(!std::is_convertible_v<Bytes, Gpa>);

TEST(RangeTest, ContainsItsFirstByteAndNotTheOnePastItsEnd) {
  const GpaRange range{Gpa(0x1000), 4_KiB};
  EXPECT_TRUE(range.Contains(Gpa(0x1000)));
  EXPECT_TRUE(range.Contains(Gpa(0x1fff)));
  EXPECT_FALSE(range.Contains(Gpa(0x2000)));
  EXPECT_FALSE(range.Contains(Gpa(0xfff)));
  EXPECT_FALSE(range.Contains(Gpa(0)));
}

TEST(RangeTest, RefusesToWrapAroundTheAddressSpace) {
  EXPECT_FALSE(GpaRange::Make(Gpa(kMaxAddress), Bytes(2)).has_value());
  EXPECT_FALSE(GpaRange::Make(Gpa(1), Bytes(kMaxAddress)).has_value());
  EXPECT_TRUE(GpaRange::Make(Gpa(0), Bytes(kMaxAddress)).has_value());
  EXPECT_TRUE(GpaRange::Make(Gpa(kMaxAddress), Bytes(0)).has_value());
}

TEST(RangeTest, NeighboursDoNotOverlapAndOneSharedByteDoes) {
  const GpaRange a{Gpa(0x1000), Bytes(0x1000)};
  EXPECT_FALSE(a.Overlaps({Gpa(0x2000), Bytes(0x1000)}));
  EXPECT_FALSE(a.Overlaps({Gpa(0), Bytes(0x1000)}));
  EXPECT_TRUE(a.Overlaps({Gpa(0x1fff), Bytes(1)}));
  EXPECT_TRUE(a.Overlaps({Gpa(0), Bytes(0x1001)}));
  EXPECT_TRUE(a.Overlaps(a));
  EXPECT_TRUE(a.Overlaps({Gpa(0), Bytes(0x10000)}));
}

TEST(RangeTest, ContainsARangeOnlyWhenBothEndsLieInside) {
  const GpaRange a{Gpa(0x1000), Bytes(0x2000)};
  EXPECT_TRUE(a.Contains(a));
  EXPECT_TRUE(a.Contains(GpaRange{Gpa(0x1800), Bytes(0x800)}));
  EXPECT_FALSE(a.Contains(GpaRange{Gpa(0x1800), Bytes(0x1801)}));
  EXPECT_FALSE(a.Contains(GpaRange{Gpa(0xfff), Bytes(0x10)}));
}

TEST(AlignmentTest, RoundsDownAndUpToTheUnit) {
  EXPECT_EQ(AlignDown(Gpa(0x1fff), kPageSize), Gpa(0x1000));
  EXPECT_EQ(AlignDown(Gpa(0x2000), kPageSize), Gpa(0x2000));
  EXPECT_EQ(AlignUp(Bytes(1), kPageSize), kPageSize);
  EXPECT_EQ(AlignUp(kPageSize, kPageSize), kPageSize);
  EXPECT_EQ(AlignUp(Bytes(0), kPageSize), Bytes(0));
  EXPECT_TRUE(IsAligned(Gpa(0x200000), kLeafSpan));
  EXPECT_FALSE(IsAligned(Gpa(0x201000), kLeafSpan));
}

TEST(GfnTest, NamesThePageAnAddressLiesIn) {
  EXPECT_EQ(Gfn(Gpa(0x1fff)), Gfn(1));
  EXPECT_EQ(Gfn(1).ToGpa(), Gpa(0x1000));
}

TEST(HvaTest, PointerAndAddressAreTwoViewsOfOneValue) {
  int x = 0;
  EXPECT_EQ(static_cast<void*>(ToPointer(ToHva(&x))), static_cast<void*>(&x));
}

TEST(BytesTest, LiteralsCountInPowersOf1024) {
  EXPECT_EQ(1_KiB, Bytes(1024));
  EXPECT_EQ(1_MiB, Bytes(1024 * 1024));
  EXPECT_EQ(3_GiB, Bytes(uint64_t{3} << 30));
}

}  // namespace
}  // namespace faultline
