#include "devices/virtio/split_queue.h"

#include <gtest/gtest.h>

#include "tests/devices/virtio/virtio_world.h"

namespace faultline {
namespace {

constexpr uint16_t kNext = 1;
constexpr uint16_t kWrite = 2;
constexpr uint16_t kIndirect = 4;

// A queue of eight entries with its rings at fixed addresses, built by hand.
class SplitQueueTest : public testing::Test {
 protected:
  SplitQueueTest() { Start(false); }
  void Start(bool event_idx) {
    layout.size = 8;
    layout.descriptors = Gpa(0x1000);
    layout.driver_area = Gpa(0x2000);
    layout.device_area = Gpa(0x3000);
    layout.event_idx = event_idx;
    layout.indirect = true;
    queue.Start(layout);
  }
  template <class T>
  void Put(uint64_t at, T value) {
    ASSERT_EQ(world.memory.Write(Gpa(at), std::as_bytes(std::span(&value, 1))), AccessResult::kOk);
  }
  uint16_t Get16(uint64_t at) {
    uint16_t value = 0;
    EXPECT_EQ(world.memory.Read(Gpa(at), std::as_writable_bytes(std::span(&value, 1))), AccessResult::kOk);
    return value;
  }
  void TableEntry(uint64_t table, uint16_t index, uint64_t address, uint32_t size, uint16_t flags, uint16_t next = 0) {
    const uint64_t at = table + 16 * uint64_t{index};
    Put(at, address);
    Put(at + 8, size);
    Put(at + 12, flags);
    Put(at + 14, next);
  }
  void Descriptor(uint16_t index, uint64_t address, uint32_t size, uint16_t flags, uint16_t next = 0) {
    TableEntry(0x1000, index, address, size, flags, next);
  }
  void Available(std::vector<uint16_t> heads) {
    for (const uint16_t head : heads) {
      Put<uint16_t>(0x2004 + 2 * (avail % 8), head);
      ++avail;
    }
    Put<uint16_t>(0x2002, avail);
  }
  RingError Broken() {
    DescriptorChain chain;
    EXPECT_FALSE(queue.Pop(chain));
    EXPECT_FALSE(queue.Pop(chain)) << "stays empty";
    return queue.broken();
  }

  VirtioWorld world;
  SplitQueue queue{world.memory};
  SplitQueue::Layout layout;
  uint16_t avail = 0;
};

TEST_F(SplitQueueTest, AnEmptyRingHasNothing) {
  DescriptorChain chain;
  EXPECT_FALSE(queue.Pop(chain));
  EXPECT_EQ(queue.broken(), RingError::kNone);
}

TEST_F(SplitQueueTest, AChainComesWithItsReadableThenItsWritableBuffers) {
  Descriptor(3, 0x10000, 16, kNext, 5);
  Descriptor(5, 0x11000, 512, kNext | kWrite, 0);
  Descriptor(0, 0x12000, 1, kWrite);
  Available({3});
  DescriptorChain chain;
  ASSERT_TRUE(queue.Pop(chain));
  EXPECT_EQ(chain.head, 3);
  EXPECT_EQ(chain.readable, (std::vector<Segment>{{Gpa(0x10000), Bytes(16)}}));
  EXPECT_EQ(chain.writable, (std::vector<Segment>{{Gpa(0x11000), Bytes(512)}, {Gpa(0x12000), Bytes(1)}}));
  EXPECT_FALSE(queue.Pop(chain));
}

TEST_F(SplitQueueTest, AnIndirectTableIsAChain) {
  Descriptor(2, 0x20000, 32, kIndirect);
  TableEntry(0x20000, 0, 0x10000, 16, kNext, 1);
  TableEntry(0x20000, 1, 0x11000, 8, kWrite);
  Available({2});
  DescriptorChain chain;
  ASSERT_TRUE(queue.Pop(chain));
  EXPECT_EQ(chain.head, 2);
  EXPECT_EQ(chain.readable.size(), 1U);
  EXPECT_EQ(chain.writable.size(), 1U);
}

TEST_F(SplitQueueTest, AnIndirectTableMayEndAChainOfOrdinaryDescriptors) {
  Descriptor(0, 0x10000, 4, kNext, 1);
  Descriptor(1, 0x20000, 16, kIndirect);
  TableEntry(0x20000, 0, 0x11000, 8, kWrite);
  Available({0});
  DescriptorChain chain;
  ASSERT_TRUE(queue.Pop(chain));
  EXPECT_EQ(TotalSize(chain.readable), 4U);
  EXPECT_EQ(TotalSize(chain.writable), 8U);
}

TEST_F(SplitQueueTest, UsedBuffersAppearInTheRingAcrossItsWrap) {
  Descriptor(1, 0x10000, 4, kWrite);
  for (int round = 0; round < 20; ++round) {
    Available({1});
    DescriptorChain chain;
    ASSERT_TRUE(queue.Pop(chain)) << round;
    queue.Push(chain.head, 4);
    EXPECT_EQ(Get16(0x3002), round + 1);
    EXPECT_EQ(Get16(0x3004 + 8 * (round % 8)), 1) << "head";
    EXPECT_EQ(Get16(0x3008 + 8 * (round % 8)), 4) << "written";
  }
}

TEST_F(SplitQueueTest, AChainPutBackComesAgain) {
  Descriptor(1, 0x10000, 4, kWrite);
  Available({1});
  DescriptorChain chain;
  ASSERT_TRUE(queue.Pop(chain));
  queue.PutBack();
  ASSERT_TRUE(queue.Pop(chain));
  EXPECT_EQ(chain.head, 1);
  EXPECT_FALSE(queue.Pop(chain));
}

TEST_F(SplitQueueTest, TheDriverMaySwitchInterruptsOff) {
  Descriptor(1, 0x10000, 4, kWrite);
  DescriptorChain chain;
  Available({1, 1});
  ASSERT_TRUE(queue.Pop(chain));
  EXPECT_FALSE(queue.NeedsInterrupt()) << "nothing used yet";
  queue.Push(1, 0);
  EXPECT_TRUE(queue.NeedsInterrupt());
  EXPECT_FALSE(queue.NeedsInterrupt()) << "once";
  Put<uint16_t>(0x2000, 1);
  ASSERT_TRUE(queue.Pop(chain));
  queue.Push(1, 0);
  EXPECT_FALSE(queue.NeedsInterrupt());
}

TEST_F(SplitQueueTest, WithEventIndicesAnInterruptComesOnlyWhenTheWishIsPassed) {
  Start(true);
  Descriptor(1, 0x10000, 4, kWrite);
  Put<uint16_t>(0x2004 + 16, 2);  // used_event: wake me for the third
  DescriptorChain chain;
  Available({1, 1, 1});
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(queue.Pop(chain));
    queue.Push(1, 0);
    EXPECT_EQ(queue.NeedsInterrupt(), i == 2) << i;
  }
}

TEST_F(SplitQueueTest, NotificationsAreSwitchedByFlagOrByEventIndex) {
  queue.DisableNotifications();
  EXPECT_EQ(Get16(0x3000), 1);
  EXPECT_FALSE(queue.EnableNotifications());
  EXPECT_EQ(Get16(0x3000), 0);
  Start(true);
  Descriptor(1, 0x10000, 4, kWrite);
  Available({1});
  DescriptorChain chain;
  ASSERT_TRUE(queue.Pop(chain));
  EXPECT_FALSE(queue.EnableNotifications());
  EXPECT_EQ(Get16(0x3004 + 64), 1) << "avail_event";
  Available({1});
  EXPECT_TRUE(queue.EnableNotifications()) << "one came in meanwhile";
}

TEST_F(SplitQueueTest, OnlySoundLayoutsAreValid) {
  EXPECT_TRUE(SplitQueue::IsValid(layout));
  const auto with = [&](auto change) {
    SplitQueue::Layout other = layout;
    change(other);
    return SplitQueue::IsValid(other);
  };
  EXPECT_FALSE(with([](auto& l) { l.size = 0; }));
  EXPECT_FALSE(with([](auto& l) { l.size = 3; }));
  EXPECT_FALSE(with([](auto& l) { l.size = 512; }));
  EXPECT_FALSE(with([](auto& l) { l.descriptors = Gpa(0x1008); }));
  EXPECT_FALSE(with([](auto& l) { l.driver_area = Gpa(0x2001); }));
  EXPECT_FALSE(with([](auto& l) { l.device_area = Gpa(0x3002); }));
  EXPECT_FALSE(with([](auto& l) { l.device_area = Gpa(~0ULL - 3); }));
}

TEST_F(SplitQueueTest, AnIndexThatJumpsBreaksTheQueue) {
  Put<uint16_t>(0x2002, 9);
  EXPECT_EQ(Broken(), RingError::kAvailIndexJumped);
}

TEST_F(SplitQueueTest, AnIndexThatRunsBackwardsBreaksTheQueue) {
  Descriptor(1, 0x10000, 4, kWrite);
  Available({1, 1});
  DescriptorChain chain;
  ASSERT_TRUE(queue.Pop(chain));
  ASSERT_TRUE(queue.Pop(chain));
  Put<uint16_t>(0x2002, 1);
  EXPECT_EQ(Broken(), RingError::kAvailIndexJumped);
}

TEST_F(SplitQueueTest, AHeadBehindTheTableBreaksTheQueue) {
  Available({8});
  EXPECT_EQ(Broken(), RingError::kBadDescriptor);
}

TEST_F(SplitQueueTest, ALinkBehindTheTableBreaksTheQueue) {
  Descriptor(0, 0x10000, 4, kNext, 8);
  Available({0});
  EXPECT_EQ(Broken(), RingError::kBadDescriptor);
}

TEST_F(SplitQueueTest, AChainThatLoopsBreaksTheQueue) {
  Descriptor(0, 0x10000, 4, kNext, 1);
  Descriptor(1, 0x10000, 4, kNext, 0);
  Available({0});
  EXPECT_EQ(Broken(), RingError::kLoop);
}

TEST_F(SplitQueueTest, AnIndirectTableThatLoopsBreaksTheQueue) {
  Descriptor(0, 0x20000, 32, kIndirect);
  TableEntry(0x20000, 0, 0x10000, 4, kNext, 0);
  Available({0});
  EXPECT_EQ(Broken(), RingError::kLoop);
}

TEST_F(SplitQueueTest, IndirectTablesThatAreNotAllowedBreakTheQueue) {
  struct Case {
    const char* what;
    uint32_t size;
    uint16_t outer, inner;
    bool negotiated;
  };
  for (const Case& c :
       {Case{"empty", 0, kIndirect, 0, true}, Case{"odd size", 17, kIndirect, 0, true},
        Case{"with a next", 16, kIndirect | kNext, 0, true}, Case{"nested", 16, kIndirect, kIndirect, true},
        Case{"not negotiated", 16, kIndirect, 0, false}}) {
    layout.indirect = c.negotiated;
    queue.Start(layout);
    avail = 0;
    Descriptor(0, 0x20000, c.size, c.outer);
    TableEntry(0x20000, 0, 0x10000, 4, c.inner);
    Available({0});
    EXPECT_EQ(Broken(), RingError::kBadIndirect) << c.what;
  }
}

TEST_F(SplitQueueTest, BuffersThatMakeNoSenseBreakTheQueue) {
  const auto error_of = [&](uint64_t address, uint32_t size) {
    queue.Start(layout);
    avail = 0;
    Descriptor(0, address, size, kNext, 1);
    Descriptor(1, 0x10000, 0x8000'0000, kWrite);
    Available({0});
    return Broken();
  };
  EXPECT_EQ(error_of(0x10000, 0), RingError::kBadBuffer) << "empty";
  EXPECT_EQ(error_of(~0ULL - 4, 16), RingError::kBadBuffer) << "wraps around";
  EXPECT_EQ(error_of(0x10000, 0x8000'0000), RingError::kBadBuffer) << "4 GiB in all";
}

TEST_F(SplitQueueTest, AReadableBufferAfterAWritableOneBreaksTheQueue) {
  Descriptor(0, 0x10000, 4, kNext | kWrite, 1);
  Descriptor(1, 0x10000, 4, 0);
  Available({0});
  EXPECT_EQ(Broken(), RingError::kReadableAfterWritable);
}

TEST_F(SplitQueueTest, RingsOutsideMemoryBreakTheQueue) {
  layout.driver_area = Gpa(VirtioWorld::kRam.value - 2);
  queue.Start(layout);
  EXPECT_EQ(Broken(), RingError::kOutsideMemory);
  layout.driver_area = Gpa(0x2000);
  layout.descriptors = Gpa(VirtioWorld::kRam.value);
  queue.Start(layout);
  Available({0});
  EXPECT_EQ(Broken(), RingError::kOutsideMemory);
  layout.descriptors = Gpa(0x1000);
  layout.device_area = Gpa(0x7000'0000);
  queue.Start(layout);
  queue.Push(0, 0);
  EXPECT_EQ(Broken(), RingError::kOutsideMemory);
}

TEST_F(SplitQueueTest, EveryRingErrorHasWords) {
  for (unsigned i = 0; i <= static_cast<unsigned>(RingError::kBadBuffer); ++i) {
    EXPECT_STRNE(RingErrorText(static_cast<RingError>(i)), "an unknown error");
  }
}

TEST_F(SplitQueueTest, BytesOfAChainAreReachedWhereverTheyAreCut) {
  const std::vector<Segment> cut = {{Gpa(0x10000), Bytes(3)}, {Gpa(0x20000), Bytes(1)}, {Gpa(0x30000), Bytes(6)}};
  const std::string text = "0123456789";
  ASSERT_TRUE(CopyOut(world.memory, cut, 0, std::as_bytes(std::span(text))));
  std::string back(5, ' ');
  ASSERT_TRUE(CopyIn(world.memory, cut, 2, std::as_writable_bytes(std::span(back))));
  EXPECT_EQ(back, "23456");
  EXPECT_EQ(Slice(cut, 2, 3),
            (std::vector<Segment>{{Gpa(0x10002), Bytes(1)}, {Gpa(0x20000), Bytes(1)}, {Gpa(0x30000), Bytes(1)}}));
  EXPECT_FALSE(CopyIn(world.memory, cut, 6, std::as_writable_bytes(std::span(back)))) << "past the end";
}

}  // namespace
}  // namespace faultline
