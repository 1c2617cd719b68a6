#include "vmm/builtin_guest/text.h"

#include <gtest/gtest.h>

namespace faultline::guest {
namespace {

TEST(GuestText, ComparesByContent) {
  EXPECT_TRUE(Text("mem") == Text("memory", 3));
  EXPECT_FALSE(Text("mem") == Text("memory"));
  EXPECT_FALSE(Text("mem") == Text("men"));
  EXPECT_TRUE(Text() == Text(""));
}

TEST(GuestText, CutsAreClampedToItsSize) {
  EXPECT_TRUE(Text("dimm12").DropFirst(4) == Text("12"));
  EXPECT_TRUE(Text("dimm").DropFirst(4).empty());
  EXPECT_TRUE(Text("dimm").DropFirst(99).empty());
  EXPECT_TRUE(Text("dimm").First(99) == Text("dimm"));
  EXPECT_TRUE(Text("dimm").First(0).empty());
}

TEST(GuestText, FindsACharacterOrItsOwnEnd) {
  EXPECT_EQ(Text("0x1000+64M").Find('+'), 6U);
  EXPECT_EQ(Text("0x1000").Find('+'), 6U);
  EXPECT_EQ(Text("").Find('+'), 0U);
}

TEST(GuestText, KnowsItsPrefixes) {
  EXPECT_TRUE(Text("dimm0").StartsWith("dimm"));
  EXPECT_TRUE(Text("dimm").StartsWith("dimm"));
  EXPECT_FALSE(Text("dim").StartsWith("dimm"));
  EXPECT_TRUE(Text("").StartsWith(""));
}

}  // namespace
}  // namespace faultline::guest
