#include "guestmem/huge_donor.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

#include "guestmem/error.h"
#include "guestmem/userfault_fd.h"
#include "tests/guestmem/failing_host.h"

namespace faultline {
namespace {

constexpr unsigned long kMove = 0xc028aa05;  // UFFDIO_MOVE

// A few leaf spans of anonymous memory that a userfaultfd watches.
class HugeDonorTest : public testing::Test {
 protected:
  static constexpr Bytes kSize = kLeafSpan * 4;

  void SetUp() override {
    void* p = mmap(nullptr, (kSize + kLeafSpan).value, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(p, MAP_FAILED);
    mapped_ = {ToHva(p), kSize + kLeafSpan};
    start_ = Hva(AlignUp(Bytes(mapped_.start.value), kLeafSpan).value);
    try {
      fd_.emplace(UserfaultFd::Open(host_));
    } catch (const Error& e) {
      GTEST_SKIP() << e.what();
    }
    ASSERT_EQ(fd_->Register({start_, kSize}), 0);
  }
  void TearDown() override {
    if (mapped_.size > Bytes(0)) munmap(ToPointer(mapped_.start), mapped_.size.value);
  }
  Hva Span(unsigned i) const { return start_ + kLeafSpan * i; }
  // A host may have no huge page free, or none at all: then the donor declines, which other tests hold.
  bool HostMovesHugePages() { return HugeDonor(host_).Fill(fd_->fd(), Span(3)) == kLeafSpan; }

  FailingHost host_;
  HvaRange mapped_;
  Hva start_;
  std::optional<UserfaultFd> fd_;
};

TEST_F(HugeDonorTest, FillsAWholeStretchWithZeroes) {
  if (!HostMovesHugePages()) GTEST_SKIP() << "the host gave no transparent huge page to move";
  HugeDonor donor(host_);
  ASSERT_EQ(donor.Fill(fd_->fd(), Span(0)), kLeafSpan);
  const auto* bytes = ToPointer(Span(0));
  EXPECT_TRUE(std::all_of(bytes, bytes + kLeafSpan.value, [](std::byte b) { return b == std::byte{0}; }));
}

TEST_F(HugeDonorTest, AFilledStretchOwesNothingToTheOneBefore) {
  if (!HostMovesHugePages()) GTEST_SKIP() << "the host gave no transparent huge page to move";
  HugeDonor donor(host_);
  ASSERT_EQ(donor.Fill(fd_->fd(), Span(0)), kLeafSpan);
  std::fill_n(ToPointer(Span(0)), kLeafSpan.value, std::byte{0xaa});
  if (donor.Fill(fd_->fd(), Span(1)) != kLeafSpan) GTEST_SKIP() << "the host ran out of huge pages";
  const auto* bytes = ToPointer(Span(1));
  EXPECT_TRUE(std::all_of(bytes, bytes + kLeafSpan.value, [](std::byte b) { return b == std::byte{0}; }));
}

TEST_F(HugeDonorTest, TheEmptyPageTableThatAFaultLeavesIsNoHindrance) {
  if (!HostMovesHugePages()) GTEST_SKIP() << "the host gave no transparent huge page to move";
  HugeDonor donor(host_);
  const std::vector<std::byte> page(kPageSize.value, std::byte{7});
  ASSERT_EQ(fd_->Copy(Span(0), page.data(), kPageSize).result, InstallResult::kInstalled);
  ASSERT_EQ(host_.Madvise({Span(0), kPageSize}, MADV_DONTNEED), 0);
  ASSERT_EQ(donor.Fill(fd_->fd(), Span(0)), kLeafSpan);
  EXPECT_EQ(*ToPointer(Span(0)), std::byte{0});
}

TEST_F(HugeDonorTest, AKernelThatCannotMoveIsAskedOnce) {
  HugeDonor donor(host_);
  host_.Arm(1, EINVAL, Ioctls(kMove), 1000);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(donor.Fill(fd_->fd(), Span(0)), Bytes(0));
  EXPECT_EQ(host_.fired(), 1U);
}

TEST_F(HugeDonorTest, AfterAPassingFailureTheDonorDeclinesForAWhileAndThenTriesAgain) {
  HugeDonor donor(host_);
  host_.Arm(1, EBUSY, Ioctls(kMove), 1000);
  for (int i = 0; i < 66; ++i) EXPECT_EQ(donor.Fill(fd_->fd(), Span(0)), Bytes(0));
  EXPECT_EQ(host_.fired(), 2U);
}

TEST_F(HugeDonorTest, HugePagesThatCostFarMoreThanTheirCopiesAreAskedForEverLessOften) {
  if (!HostMovesHugePages()) GTEST_SKIP() << "the host gave no transparent huge page to move";
  HugeDonor donor(host_);
  donor.LearnCopy(kLeafSpan, 1000);
  host_.set_before([](const HostCall& call) {
    if (call.kind == HostCallKind::kMadvise) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  });
  host_.Count(Ioctls(kMove));
  // One asked for, one declined, one asked for, two declined.
  for (unsigned i = 0; i < 5; ++i) {
    const Bytes filled = donor.Fill(fd_->fd(), Span(i % 3));
    EXPECT_EQ(filled, i == 0 || i == 2 ? kLeafSpan : Bytes(0)) << i;
  }
  EXPECT_EQ(host_.seen(), 2U);
}

TEST_F(HugeDonorTest, AHugePageThatIsWorthItsPriceIsFollowedByAnother) {
  if (!HostMovesHugePages()) GTEST_SKIP() << "the host gave no transparent huge page to move";
  HugeDonor donor(host_);
  donor.LearnCopy(kLeafSpan, 3'600'000'000'000);
  ASSERT_EQ(donor.Fill(fd_->fd(), Span(0)), kLeafSpan);
  host_.Count(Ioctls(kMove));
  donor.Fill(fd_->fd(), Span(1));
  EXPECT_EQ(host_.seen(), 1U);
}

TEST_F(HugeDonorTest, WithoutAddressSpaceOrMemoryTheDonorDeclines) {
  for (const HostCallKind kind : {HostCallKind::kMmap, HostCallKind::kMadvise}) {
    HugeDonor donor(host_);
    host_.Arm(1, ENOMEM, CallsOfKind(kind));
    EXPECT_EQ(donor.Fill(fd_->fd(), Span(0)), Bytes(0));
    EXPECT_EQ(host_.fired(), 1U);
    host_.Disarm();
  }
}

TEST_F(HugeDonorTest, NothingStaysMappedWhenTheDonorGoes) {
  const Bytes before = host_.mapped();
  {
    HugeDonor donor(host_);
    donor.Fill(fd_->fd(), Span(0));
    EXPECT_GT(host_.mapped(), before);
  }
  EXPECT_EQ(host_.mapped(), before);
}

}  // namespace
}  // namespace faultline
