#include "vmm/kvm/memslots.h"

#include <thread>

#include "guestmem/error.h"
#include "tests/guestmem/failing_host.h"
#include "tests/vmm/kvm/tiny_vm.h"

namespace faultline {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class MemslotTableTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_KVM();
    system_ = std::make_unique<KvmSystem>(host_);
    vm_ = std::make_unique<KvmVm>(*system_);
    slots_ = std::make_unique<MemslotTable>(*vm_);
  }

  RegionView View(uint64_t id, Gpa gpa) { return TinyVm::View(id, "memory", gpa, memory_.range()); }
  uint32_t SlotOf(uint64_t id) {
    for (const auto& entry : slots_->Entries()) {
      if (entry.region == RegionId{id}) return entry.slot.value;
    }
    return ~0U;
  }
  static HostCallFilter SlotCalls() { return Ioctls(KVM_SET_USER_MEMORY_REGION); }

  FailingHost host_;
  HostMemory memory_{2_MiB};
  std::unique_ptr<KvmSystem> system_;
  std::unique_ptr<KvmVm> vm_;
  std::unique_ptr<MemslotTable> slots_;
  const std::atomic<bool> undisturbed_{false};
};

TEST_F(MemslotTableTest, SlotNumbersOfDeletedSlotsAreUsedAgain) {
  slots_->OnPlug(View(1, Gpa(0)));
  slots_->OnPlug(View(2, Gpa(1ULL << 30)));
  const uint32_t first = SlotOf(1);
  slots_->OnRevoke(View(1, Gpa(0)));
  slots_->OnUnmap(View(1, Gpa(0)));
  slots_->OnPlug(View(3, Gpa(2ULL << 30)));
  EXPECT_EQ(SlotOf(3), first);
  EXPECT_NE(SlotOf(2), first);
  EXPECT_EQ(slots_->mapped_bytes(), 4_MiB);
}

TEST_F(MemslotTableTest, AMomentaryShortageOfTheHostIsOutlasted) {
  for (const int error : {ENOMEM, EINTR, EAGAIN}) {
    host_.Arm(1, error, SlotCalls(), 3);
    slots_->OnPlug(View(1, Gpa(0)));
    EXPECT_EQ(host_.fired(), 3u);
    host_.Arm(1, error, SlotCalls(), 3);
    slots_->OnRevoke(View(1, Gpa(0)));
    slots_->OnUnmap(View(1, Gpa(0)));
    EXPECT_EQ(host_.fired(), 3u);
    EXPECT_TRUE(slots_->Entries().empty());
  }
}

TEST_F(MemslotTableTest, AShortageThatLastsIsAnErrorThatLeavesNoTrace) {
  host_.Arm(1, ENOMEM, SlotCalls(), 1000);
  EXPECT_THROW(slots_->OnPlug(View(1, Gpa(0))), Error);
  EXPECT_LT(host_.seen(), 100u) << "retries must be bounded";
  EXPECT_TRUE(slots_->Entries().empty());
  host_.Disarm();
  slots_->OnPlug(View(2, Gpa(0)));
  EXPECT_EQ(SlotOf(2), 0u) << "the slot number was lost";
}

TEST_F(MemslotTableTest, AnErrorThatIsNotPassingIsNotTriedAgain) {
  host_.Arm(1, EINVAL, SlotCalls(), 1000);
  EXPECT_THROW(slots_->OnPlug(View(1, Gpa(0))), Error);
  EXPECT_EQ(host_.seen(), 1u);
}

TEST_F(MemslotTableTest, AFailedDeletionKeepsTheSlotAndRestoreGivesItTheNewName) {
  slots_->OnPlug(View(1, Gpa(0)));
  slots_->OnRevoke(View(1, Gpa(0)));
  host_.Arm(1, EIO, SlotCalls());
  EXPECT_THROW(slots_->OnUnmap(View(1, Gpa(0))), Error);
  slots_->OnRestore(RegionId{1}, View(7, Gpa(0)));
  EXPECT_EQ(SlotOf(7), 0u);
  EXPECT_EQ(slots_->mapped_bytes(), 2_MiB);
  slots_->OnRevoke(View(7, Gpa(0)));
  slots_->OnUnmap(View(7, Gpa(0)));
  EXPECT_TRUE(slots_->Entries().empty());
}

TEST_F(MemslotTableTest, TheLatencyOfDeletionsIsRecorded) {
  slots_->OnPlug(View(1, Gpa(0)));
  slots_->OnRevoke(View(1, Gpa(0)));
  slots_->OnUnmap(View(1, Gpa(0)));
  LatencyHistogram latency;
  slots_->MergeDeleteLatency(latency);
  EXPECT_EQ(latency.count(), 1u);
}

TEST_F(MemslotTableTest, AWaiterSleepsThroughARevocationUntilItsEnd) {
  slots_->OnPlug(View(1, Gpa(0)));
  const uint64_t seen = slots_->generation();
  slots_->OnRevoke(View(1, Gpa(0)));
  std::atomic<bool> woken{false};
  auto wake = MemslotTable::Wake::kNoRevocation;
  std::thread waiter([&] {
    wake = slots_->WaitForChange(seen, undisturbed_, milliseconds(1));
    woken = true;
  });
  std::this_thread::sleep_for(milliseconds(30));
  EXPECT_FALSE(woken) << "the revocation has not ended";
  slots_->OnUnmap(View(1, Gpa(0)));
  waiter.join();
  EXPECT_EQ(wake, MemslotTable::Wake::kChanged);
}

TEST_F(MemslotTableTest, AWaiterWakesWhenTheRegionIsRestored) {
  slots_->OnPlug(View(1, Gpa(0)));
  const uint64_t seen = slots_->generation();
  slots_->OnRevoke(View(1, Gpa(0)));
  auto wake = MemslotTable::Wake::kNoRevocation;
  std::thread waiter([&] { wake = slots_->WaitForChange(seen, undisturbed_, seconds(60)); });
  slots_->OnRestore(RegionId{1}, View(2, Gpa(0)));
  waiter.join();
  EXPECT_EQ(wake, MemslotTable::Wake::kChanged);
}

TEST_F(MemslotTableTest, ARevocationThatEndedBeforeTheWaitIsSeenAtOnce) {
  slots_->OnPlug(View(1, Gpa(0)));
  const uint64_t seen = slots_->generation();
  slots_->OnRevoke(View(1, Gpa(0)));
  slots_->OnUnmap(View(1, Gpa(0)));
  EXPECT_EQ(slots_->WaitForChange(seen, undisturbed_, seconds(3600)), MemslotTable::Wake::kChanged);
}

TEST_F(MemslotTableTest, AnInterruptEndsTheWait) {
  slots_->OnPlug(View(1, Gpa(0)));
  slots_->OnRevoke(View(1, Gpa(0)));
  std::atomic<bool> interrupt{false};
  auto wake = MemslotTable::Wake::kChanged;
  std::thread waiter([&] { wake = slots_->WaitForChange(slots_->generation(), interrupt, seconds(3600)); });
  interrupt = true;
  slots_->WakeWaiters();
  waiter.join();
  EXPECT_EQ(wake, MemslotTable::Wake::kInterrupted);
}

TEST_F(MemslotTableTest, WithNothingBeingRevokedTheWaitEndsWithThePatience) {
  EXPECT_EQ(slots_->WaitForChange(slots_->generation(), undisturbed_, milliseconds(2)),
            MemslotTable::Wake::kNoRevocation);
}

}  // namespace
}  // namespace faultline
