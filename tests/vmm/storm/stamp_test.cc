#include <gtest/gtest.h>

#include "vmm/builtin_guest/storm_stamp.h"

namespace faultline::storm_abi {
namespace {

constexpr uint64_t kSeed = 42;
constexpr uint64_t kPage = 0x100123;
constexpr uint32_t kVcpu = 3;

uint64_t StampOf(uint32_t incarnation) { return EncodeStamp(kSeed, {incarnation, kVcpu, kPage}); }

// A read of the word (kPage, kVcpu) between two states of its slot.
struct Read {
  SlotState before, after;
  WriteLog log{};
  uint64_t initial = 0;

  Verdict Of(uint64_t seen) {
    const ReadCase read{kSeed, {0, kVcpu, kPage}, initial, log, before, after};
    return JudgeRead(read, seen, &expected);
  }
  uint64_t expected = 0;
};

SlotState Plugged(uint64_t c) { return SlotState::Of(c, Phase::kPlugged); }
SlotState Unplugging(uint64_t c) { return SlotState::Of(c, Phase::kUnplugging); }
SlotState Unplugged(uint64_t c) { return SlotState::Of(c, Phase::kUnplugged); }
SlotState Plugging(uint64_t c) { return SlotState::Of(c, Phase::kPlugging); }

TEST(Stamp, DecodesToWhatWasEncoded) {
  for (const uint32_t incarnation : {1U, 2U, 1000U, kMaxIncarnation}) {
    for (const uint32_t vcpu : {0U, 1U, kMaxVcpus - 1}) {
      for (const uint64_t page : {uint64_t{0}, kPage, kMaxStampPage}) {
        const Stamp stamp{incarnation, vcpu, page};
        EXPECT_EQ(DecodeStamp(kSeed, EncodeStamp(kSeed, stamp)), stamp);
      }
    }
  }
}

TEST(Stamp, IsNeverZeroesNorAllOnes) {
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    for (const uint32_t incarnation : {1U, kMaxIncarnation}) {
      const uint64_t stamp = EncodeStamp(seed, {incarnation, kVcpu, kPage});
      EXPECT_NE(stamp, 0U);
      EXPECT_NE(stamp, kOnes);
    }
  }
}

TEST(Stamp, DiffersBetweenSeedsPagesAndVcpus) {
  EXPECT_NE(EncodeStamp(1, {5, 0, 9}), EncodeStamp(2, {5, 0, 9}));
  EXPECT_NE(EncodeStamp(1, {5, 0, 9}), EncodeStamp(1, {5, 1, 9}));
  EXPECT_NE(EncodeStamp(1, {5, 0, 9}), EncodeStamp(1, {5, 0, 8}));
}

TEST(SlotState, OnlyGrowsThroughALife) {
  EXPECT_LT(SlotState{}.word, Plugging(1).word);
  EXPECT_LT(Plugging(1).word, Plugged(1).word);
  EXPECT_LT(Plugged(1).word, Unplugging(1).word);
  EXPECT_LT(Unplugging(1).word, Unplugged(1).word);
  EXPECT_LT(Unplugged(1).word, Plugging(2).word);
}

TEST(JudgeRead, AcceptsWhatWasWrittenLastInThisIncarnation) {
  Read read{Plugged(7), Plugged(7), WriteLog{7}};
  EXPECT_EQ(read.Of(StampOf(7)), Verdict::kRight);
}

TEST(JudgeRead, AcceptsInitialContentWhereNothingWasWrittenSinceThePlug) {
  Read never{Plugged(7), Plugged(7)};
  EXPECT_EQ(never.Of(0), Verdict::kRight);
  Read in_an_earlier_one{Plugged(7), Plugged(7), WriteLog{6}};
  EXPECT_EQ(in_an_earlier_one.Of(0), Verdict::kRight);
  Read from_a_file{Plugged(7), Plugged(7), WriteLog{}, 0x1234};
  EXPECT_EQ(from_a_file.Of(0x1234), Verdict::kRight);
  EXPECT_EQ(from_a_file.Of(0), Verdict::kLostWrite);
}

TEST(JudgeRead, CallsAnEarlierIncarnationsStampStale) {
  Read unwritten{Plugged(7), Plugged(7), WriteLog{6}};
  EXPECT_EQ(unwritten.Of(StampOf(6)), Verdict::kStaleRead);
  Read written{Plugged(7), Plugged(7), WriteLog{7}};
  EXPECT_EQ(written.Of(StampOf(3)), Verdict::kStaleRead);
}

TEST(JudgeRead, CallsAnEarlierStampOfAnotherPageStaleToo) {
  Read read{Plugged(7), Plugged(7)};
  EXPECT_EQ(read.Of(EncodeStamp(kSeed, {5, kVcpu, kPage + 1})), Verdict::kStaleRead);
}

TEST(JudgeRead, CallsAMissingStampALostWrite) {
  Read read{Plugged(7), Plugged(7), WriteLog{7}};
  EXPECT_EQ(read.Of(0), Verdict::kLostWrite);
  EXPECT_EQ(read.expected, StampOf(7));
  EXPECT_EQ(read.Of(EncodeStamp(kSeed, {7, kVcpu, kPage + 1})), Verdict::kLostWrite);
}

TEST(JudgeRead, CallsAllOnesFromPluggedMemoryALostWrite) {
  Read written{Plugged(7), Plugged(7), WriteLog{7}};
  EXPECT_EQ(written.Of(kOnes), Verdict::kLostWrite);
  Read unwritten{Plugged(7), Plugged(7)};
  EXPECT_EQ(unwritten.Of(kOnes), Verdict::kLostWrite);
  Read in_doubt{Plugged(7), Plugged(7), WriteLog{7 | WriteLog::kDoubt}};
  EXPECT_EQ(in_doubt.Of(kOnes), Verdict::kLostWrite);
}

TEST(JudgeRead, WantsAllOnesOnceTheUnplugHasReturned) {
  Read read{Unplugged(7), Unplugged(7), WriteLog{7}};
  EXPECT_EQ(read.Of(kOnes), Verdict::kRight);
  EXPECT_EQ(read.Of(StampOf(7)), Verdict::kServedDead);
  EXPECT_EQ(read.Of(0), Verdict::kServedDead);
  EXPECT_EQ(read.expected, kOnes);
}

TEST(JudgeRead, WantsAllOnesFromASlotThatNeverHeldARegion) {
  Read read{SlotState{}, SlotState{}};
  EXPECT_EQ(read.Of(kOnes), Verdict::kRight);
  EXPECT_EQ(read.Of(0), Verdict::kServedDead);
}

TEST(JudgeRead, AllowsMemoryOrTheEmptyBusWhileTheUnplugRuns) {
  for (const auto& [before, after] : {std::pair{Plugged(7), Unplugging(7)}, std::pair{Unplugging(7), Unplugging(7)},
                                      std::pair{Plugged(7), Unplugged(7)}, std::pair{Unplugging(7), Unplugged(7)}}) {
    Read read{before, after, WriteLog{7}};
    EXPECT_EQ(read.Of(kOnes), Verdict::kRight);
    EXPECT_EQ(read.Of(StampOf(7)), Verdict::kRight);
    EXPECT_EQ(read.Of(0), Verdict::kLostWrite);
    EXPECT_EQ(read.Of(StampOf(6)), Verdict::kStaleRead);
  }
}

TEST(JudgeRead, AllowsMemoryOrTheEmptyBusWhileThePlugRuns) {
  for (const SlotState after : {Plugging(7), Plugged(7)}) {
    Read read{Plugging(7), after};
    EXPECT_EQ(read.Of(kOnes), Verdict::kRight);
    EXPECT_EQ(read.Of(0), Verdict::kRight);
    EXPECT_EQ(read.Of(StampOf(6)), Verdict::kStaleRead);
  }
}

TEST(JudgeRead, DoesNotJudgeAcrossIncarnations) {
  Read read{Plugged(7), Plugged(8), WriteLog{7}};
  for (const uint64_t seen : {uint64_t{0}, kOnes, StampOf(7), StampOf(8)}) EXPECT_EQ(read.Of(seen), Verdict::kUnjudged);
}

TEST(JudgeRead, DoesNotJudgeAWriteInDoubtUntilItsIncarnationIsGone) {
  Read within{Plugged(7), Plugged(7), WriteLog{7 | WriteLog::kDoubt}};
  EXPECT_EQ(within.Of(0), Verdict::kUnjudged);
  EXPECT_EQ(within.Of(StampOf(5)), Verdict::kUnjudged);
  Read afterwards{Plugged(8), Plugged(8), WriteLog{7 | WriteLog::kDoubt}};
  EXPECT_EQ(afterwards.Of(0), Verdict::kRight);
  EXPECT_EQ(afterwards.Of(StampOf(7)), Verdict::kStaleRead);
}

TEST(LogWrite, RemembersAWriteToMemoryThatStayed) {
  const WriteLog log = LogWrite({}, Plugged(7), Plugged(7));
  EXPECT_EQ(log.incarnation(), 7U);
  EXPECT_FALSE(log.in_doubt());
}

TEST(LogWrite, KeepsTheLogWhenTheWriteMetNoMemory) { EXPECT_EQ(LogWrite({5}, Unplugged(7), Unplugged(7)).entry, 5U); }

TEST(LogWrite, DoubtsAWriteWhoseSlotChangedAroundIt) {
  for (const auto& [before, after] : {std::pair{Plugged(7), Unplugging(7)}, std::pair{Plugging(7), Plugged(7)},
                                      std::pair{Unplugging(7), Unplugging(7)}}) {
    const WriteLog log = LogWrite({6}, before, after);
    EXPECT_TRUE(log.in_doubt());
    EXPECT_EQ(log.incarnation(), 7U);
  }
  const WriteLog across = LogWrite({6}, Plugged(7), Plugged(9));
  EXPECT_TRUE(across.in_doubt());
  EXPECT_EQ(across.incarnation(), 9U);
}

}  // namespace
}  // namespace faultline::storm_abi
