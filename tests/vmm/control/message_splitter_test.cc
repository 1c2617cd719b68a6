#include "vmm/control/message_splitter.h"

#include <gtest/gtest.h>

#include <vector>

namespace faultline {
namespace {

using Kind = MessageSplitter::Kind;

struct Seen {
  Kind kind;
  std::string text;
  friend bool operator==(const Seen&, const Seen&) = default;
};

std::vector<Seen> Drain(MessageSplitter& splitter) {
  std::vector<Seen> seen;
  while (auto item = splitter.Next()) seen.push_back({item->kind, item->text});
  return seen;
}

std::vector<Seen> Split(std::string_view text, MessageSplitter::Limits limits = {}) {
  MessageSplitter splitter(limits);
  splitter.Feed(text);
  return Drain(splitter);
}

TEST(MessageSplitter, TakesMessagesApartWithAndWithoutNewlinesBetween) {
  EXPECT_EQ(
      Split("{\"a\":1}{\"b\":[2,{}]}\r\n [3]\n"),
      (std::vector<Seen>{{Kind::kMessage, "{\"a\":1}"}, {Kind::kMessage, "{\"b\":[2,{}]}"}, {Kind::kMessage, "[3]"}}));
}

TEST(MessageSplitter, BracketsAndQuotesInsideStringsDoNotCount) {
  const std::string text = R"({"a":"}]{\"\\"})";
  EXPECT_EQ(Split(text), (std::vector<Seen>{{Kind::kMessage, text}}));
}

TEST(MessageSplitter, AMessageMaySpanLines) {
  EXPECT_EQ(Split("{\n \"a\": 1\n}\n"), (std::vector<Seen>{{Kind::kMessage, "{\n \"a\": 1\n}"}}));
}

TEST(MessageSplitter, AHalfMessageWaitsForItsOtherHalf) {
  MessageSplitter splitter({});
  splitter.Feed("{\"execute\":");
  EXPECT_FALSE(splitter.Next());
  EXPECT_EQ(splitter.pending_bytes(), 11U);
  splitter.Feed("\"stop\"}");
  EXPECT_EQ(Drain(splitter), (std::vector<Seen>{{Kind::kMessage, "{\"execute\":\"stop\"}"}}));
  EXPECT_EQ(splitter.pending_bytes(), 0U);
}

TEST(MessageSplitter, WhereTheStreamIsCutMakesNoDifference) {
  const std::string text = "nonsense\n{\"a\":\"\\\"{\"} [[],{}]\r\n}}\n{\"b\":2}";
  const std::vector<Seen> whole = Split(text);
  ASSERT_EQ(whole.size(), 5U);
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    MessageSplitter splitter({});
    splitter.Feed(std::string_view(text).substr(0, cut));
    std::vector<Seen> seen = Drain(splitter);
    splitter.Feed(std::string_view(text).substr(cut));
    for (Seen& s : Drain(splitter)) seen.push_back(std::move(s));
    EXPECT_EQ(seen, whole) << "cut after byte " << cut;
  }
}

TEST(MessageSplitter, GarbageIsReportedOnceALineAndCutShort) {
  const auto seen = Split(std::string(500, 'x') + "\n{}\nquit\n");
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen[0], (Seen{Kind::kGarbage, std::string(64, 'x')}));
  EXPECT_EQ(seen[1], (Seen{Kind::kMessage, "{}"}));
  EXPECT_EQ(seen[2], (Seen{Kind::kGarbage, "quit"}));
}

TEST(MessageSplitter, AMessageOfTheLargestSizePassesAndOneByteMoreIsFatal) {
  const MessageSplitter::Limits limits{.bytes = 100, .depth = 8};
  const std::string fits = "\"" + std::string(96, 'a') + "\"";
  EXPECT_EQ(Split("[" + fits + "]", limits).at(0).kind, Kind::kMessage);
  MessageSplitter splitter(limits);
  splitter.Feed("[ " + fits + "]{}");
  EXPECT_EQ(Drain(splitter), (std::vector<Seen>{{Kind::kTooLong, ""}}));
  splitter.Feed("{}");
  EXPECT_FALSE(splitter.Next());
  EXPECT_EQ(splitter.pending_bytes(), 0U);
}

TEST(MessageSplitter, EndlessGarbageIsBoundedToo) {
  EXPECT_EQ(Split(std::string(101, 'x'), {.bytes = 100, .depth = 8}), (std::vector<Seen>{{Kind::kTooLong, ""}}));
}

TEST(MessageSplitter, NestingHasALimit) {
  const MessageSplitter::Limits limits{.bytes = 1000, .depth = 8};
  EXPECT_EQ(Split(std::string(8, '[') + std::string(8, ']'), limits).at(0).kind, Kind::kMessage);
  EXPECT_EQ(Split(std::string(9, '['), limits), (std::vector<Seen>{{Kind::kTooDeep, ""}}));
}

TEST(MessageSplitter, WhiteSpaceBetweenMessagesIsNotHeld) {
  MessageSplitter splitter({.bytes = 100, .depth = 8});
  for (int i = 0; i < 100; ++i) {
    splitter.Feed(std::string(99, '\n'));
    EXPECT_FALSE(splitter.Next());
  }
  EXPECT_EQ(splitter.pending_bytes(), 0U);
}

}  // namespace
}  // namespace faultline
