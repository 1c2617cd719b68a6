#include "vmm/machine/unplugged_accesses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace faultline {
namespace {

using testing::HasSubstr;

class UnpluggedAccessesTest : public testing::Test {
 protected:
  UnpluggedAccesses Make(UnpluggedPolicy policy) {
    return {policy, [this](const UnpluggedAccessEvent& event) { events_.push_back(event); },
            [this](const std::string& sentence) { stops_.push_back(sentence); }};
  }
  void Touch(UnpluggedAccesses& accesses, bool write) {
    accesses.Answer({3, Gpa(0x140000000), data_, write}, [] { return uint64_t{0x10123}; });
  }

  std::array<std::byte, 4> data_ = {};
  std::vector<UnpluggedAccessEvent> events_;
  std::vector<std::string> stops_;
};

TEST_F(UnpluggedAccessesTest, ReadsGiveOnesAndWritesKeepTheirData) {
  auto accesses = Make(UnpluggedPolicy::kOnes);
  Touch(accesses, /*write=*/true);
  EXPECT_EQ(data_[0], std::byte{0});
  Touch(accesses, /*write=*/false);
  for (const std::byte b : data_) EXPECT_EQ(b, std::byte{0xff});
}

TEST_F(UnpluggedAccessesTest, AllAreCountedAndFewAreReported) {
  auto accesses = Make(UnpluggedPolicy::kOnes);
  constexpr uint64_t kAccesses = 100'000;
  for (uint64_t i = 0; i < kAccesses; ++i) Touch(accesses, true);
  EXPECT_EQ(accesses.count(), kAccesses);
  ASSERT_GE(events_.size(), 1u);
  EXPECT_LT(events_.size(), kAccesses / 10);
  EXPECT_EQ(events_[0].vcpu, 3u);
  EXPECT_EQ(events_[0].rip, 0x10123u);
  EXPECT_EQ(events_[0].gpa, Gpa(0x140000000));
  EXPECT_EQ(events_[0].size, 4u);
  EXPECT_TRUE(events_[0].write);
  uint64_t told = events_.size();
  for (const auto& event : events_) told += event.suppressed;
  EXPECT_LE(told, kAccesses);
}

TEST_F(UnpluggedAccessesTest, TheNextReportTellsHowManyWereLeftOut) {
  auto accesses = Make(UnpluggedPolicy::kOnes);
  Touch(accesses, true);
  ASSERT_EQ(events_.size(), 1u);
  uint64_t touched = 1;
  while (events_.size() < 2) {
    Touch(accesses, true);
    ++touched;
  }
  EXPECT_EQ(events_[1].suppressed, touched - 2);
}

TEST_F(UnpluggedAccessesTest, PolicyLogReportsEachOne) {
  auto accesses = Make(UnpluggedPolicy::kLog);
  for (int i = 0; i < 50; ++i) Touch(accesses, i % 2 == 0);
  EXPECT_EQ(events_.size(), 50u);
  EXPECT_TRUE(stops_.empty());
}

TEST_F(UnpluggedAccessesTest, PolicyStopStopsWithASentenceThatNamesVcpuAddressAndRip) {
  auto accesses = Make(UnpluggedPolicy::kStop);
  Touch(accesses, true);
  ASSERT_EQ(stops_.size(), 1u);
  EXPECT_THAT(stops_[0], HasSubstr("vCPU 3 wrote to"));
  EXPECT_THAT(stops_[0], HasSubstr("0x140000000"));
  EXPECT_THAT(stops_[0], HasSubstr("0x10123"));
  EXPECT_EQ(events_.size(), 1u);
}

}  // namespace
}  // namespace faultline
