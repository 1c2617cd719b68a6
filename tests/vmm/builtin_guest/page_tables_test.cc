#include "vmm/builtin_guest/page_tables.h"

#include <gtest/gtest.h>

#include <optional>

#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr Gpa kBase{0x180000};
constexpr Bytes kCapacity = 512_KiB;

// Walks the tables as a processor does. Nothing: a page fault. Fails the test on an entry that user code could
// not use or that leaves the tables.
std::optional<uint64_t> Translate(const IdentityPageTables& tables, uint64_t address) {
  constexpr uint64_t kNeeded = 0x27;  // present, writable, user, accessed
  uint64_t table = tables.root().value;
  for (unsigned shift = 39;; shift -= 9) {
    const uint64_t index = (table - tables.root().value) / kPageSize.value;
    if (index >= tables.tables().size()) {
      ADD_FAILURE() << "an entry points outside the tables";
      return std::nullopt;
    }
    const uint64_t entry = tables.tables()[index][address >> shift & 511];
    if ((entry & 1) == 0) return std::nullopt;
    EXPECT_EQ(entry & kNeeded, kNeeded);
    const uint64_t frame = entry & 0x000ffffffffff000;
    if (shift == 39) {
      EXPECT_EQ(entry & 0x80, 0U) << "there are no 512 GiB pages";
    } else if ((entry & 0x80) != 0) {
      const uint64_t page = uint64_t{1} << shift;
      EXPECT_EQ(frame % page, 0U) << "a large page must be aligned";
      return frame + address % page;
    }
    if (shift == 21) {
      ADD_FAILURE() << "4 KiB pages are not used";
      return std::nullopt;
    }
    table = frame;
  }
}

void ExpectMapped(const IdentityPageTables& tables, GpaRange range) {
  for (uint64_t at = range.start.value; at < range.end().value; at += (2_MiB).value) {
    ASSERT_EQ(Translate(tables, at), at) << std::hex << at;
    ASSERT_EQ(Translate(tables, at + 0x1fffff), at + 0x1fffff);
  }
}

class PageTables : public testing::TestWithParam<bool> {};

TEST_P(PageTables, MapExactlyWhatWasAskedForOneToOne) {
  IdentityPageTables tables(kBase, kCapacity, GetParam());
  const GpaRange boot{Gpa(0), 128_MiB};
  const GpaRange window{Gpa(0x1'0000'0000), 5_GiB + 32_MiB};
  tables.Map(boot);
  tables.Map(window);
  ExpectMapped(tables, boot);
  ExpectMapped(tables, window);
  EXPECT_EQ(Translate(tables, boot.end().value), std::nullopt);
  EXPECT_EQ(Translate(tables, window.start.value - 1), std::nullopt);
  EXPECT_EQ(Translate(tables, window.end().value), std::nullopt);
}

TEST_P(PageTables, SurviveOverlappingRangesInEitherOrder) {
  const GpaRange small{Gpa(0x4020'0000), 4_MiB};
  const GpaRange large{Gpa(0x4000'0000), 2_GiB};
  for (const bool small_first : {true, false}) {
    IdentityPageTables tables(kBase, kCapacity, GetParam());
    tables.Map(small_first ? small : large);
    tables.Map(small_first ? large : small);
    ExpectMapped(tables, large);
  }
}

TEST_P(PageTables, WidenARangeToWholePages) {
  IdentityPageTables tables(kBase, kCapacity, GetParam());
  tables.Map({Gpa(0x40'1000), Bytes(0x1000)});
  ExpectMapped(tables, {Gpa(0x40'0000), 2_MiB});
  EXPECT_EQ(Translate(tables, 0x60'0000), std::nullopt);
  EXPECT_EQ(Translate(tables, 0x3f'ffff), std::nullopt);
}

TEST_P(PageTables, AnEmptyRangeNeedsNoTables) {
  IdentityPageTables tables(kBase, kCapacity, GetParam());
  tables.Map({Gpa(0x1'0000'0000), Bytes(0)});
  EXPECT_EQ(tables.tables().size(), 1U);
}

TEST_P(PageTables, RefuseWhatTheirReserveDoesNotHold) {
  IdentityPageTables tables(kBase, kPageSize * 8, GetParam());
  EXPECT_NO_THROW(tables.Map({Gpa(0), 1_MiB}));
  // Each of these lies in a GiB of its own and needs a table of its own with either page size.
  const auto map_many = [&] {
    for (uint64_t i = 1; i <= 6; ++i) tables.Map({Gpa(i << 30), 2_MiB});
  };
  EXPECT_THROW(map_many(), UsageError);
}

TEST_P(PageTables, RefuseAddressesThatHaveNoPlaceInTheLowerHalf) {
  IdentityPageTables tables(kBase, kCapacity, GetParam());
  EXPECT_NO_THROW(tables.Map({Gpa((1ULL << 47) - (2_MiB).value), 2_MiB}));
  EXPECT_THROW(tables.Map({Gpa((1ULL << 47) - (2_MiB).value), 4_MiB}), UsageError);
  EXPECT_THROW(tables.Map({Gpa(~0ULL - 4095), 8_KiB}), UsageError);
}

INSTANTIATE_TEST_SUITE_P(PageSizes, PageTables, testing::Bool(),
                         [](const auto& gib) { return gib.param ? "WithGibPages" : "With2MibPages"; });

TEST(PageTablesWithGibPages, ReachATebibyteInAHandfulOfTables) {
  IdentityPageTables tables(kBase, kCapacity, true);
  tables.Map({Gpa(0), 256_MiB});
  tables.Map({Gpa(1ULL << 32), 1024_GiB});
  EXPECT_LE(tables.tables().size(), 6U);
  EXPECT_EQ(Translate(tables, (1ULL << 32) + (1023_GiB).value + 12345), (1ULL << 32) + (1023_GiB).value + 12345);
}

}  // namespace
}  // namespace faultline
