#include "vmm/storm/host_charge.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "guestmem/userfault_fd.h"

namespace faultline {
namespace {

class HostChargeTest : public testing::Test {
 protected:
  static constexpr uint64_t kPages = 64;
  void SetUp() override {
    area_ = static_cast<char*>(
        mmap(nullptr, kPages * kPageSize.value, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(area_, MAP_FAILED);
    madvise(area_, kPages * kPageSize.value, MADV_NOHUGEPAGE);
  }
  void TearDown() override { munmap(area_, kPages * kPageSize.value); }
  void Touch(uint64_t page) { area_[page * kPageSize.value] = 1; }
  HvaRange range() const { return {ToHva(area_), kPageSize * kPages}; }

  char* area_ = nullptr;
  HostCharge charge_{Host::System()};
};

TEST_F(HostChargeTest, IsNothingForUntouchedMemory) { EXPECT_EQ(charge_.In(range()), Bytes(0)); }

TEST_F(HostChargeTest, CountsTouchedPages) {
  for (const uint64_t page : {0, 1, 17, 63}) Touch(page);
  EXPECT_EQ(charge_.In(range()), kPageSize * 4);
}

TEST_F(HostChargeTest, CountsWhatRemainsOfGuestMemory) {
  for (const uint64_t page : {0, 1, 17, 63}) Touch(page);
  UserfaultFd userfault = UserfaultFd::Open(Host::System());
  ASSERT_EQ(userfault.Register(range()), 0);
  mprotect(area_ + 8 * kPageSize.value, kPageSize.value, PROT_NONE);  // as a revoked page may be
  EXPECT_EQ(charge_.InRemains(range()), kPageSize * 4);
}

TEST_F(HostChargeTest, TakesMemoryThatIsNoGuestsForSomebodyElses) {
  for (const uint64_t page : {0, 1, 17, 63}) Touch(page);
  EXPECT_EQ(charge_.InRemains(range()), Bytes(0));
}

TEST_F(HostChargeTest, NoLongerCountsDiscardedPages) {
  for (uint64_t page = 0; page < kPages; ++page) Touch(page);
  madvise(area_, 32 * kPageSize.value, MADV_DONTNEED);
  EXPECT_EQ(charge_.In(range()), kPageSize * 32);
}

TEST_F(HostChargeTest, TakesARangeThatIsGoneInPartForSomebodyElses) {
  for (uint64_t page = 0; page < kPages; ++page) Touch(page);
  UserfaultFd userfault = UserfaultFd::Open(Host::System());
  ASSERT_EQ(userfault.Register(range()), 0);
  // Replaced and not only unmapped, so that nobody else really takes the place.
  ASSERT_EQ(mmap(area_, kPageSize.value, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
            area_);
  EXPECT_EQ(charge_.InRemains(range()), Bytes(0));
}

}  // namespace
}  // namespace faultline
