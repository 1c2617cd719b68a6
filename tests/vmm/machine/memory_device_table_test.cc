#include "vmm/machine/memory_device_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guestmem/error.h"

namespace faultline {
namespace {

using testing::HasSubstr;

MemoryLayout Layout(GpaRange window) {
  MemoryLayout layout;
  layout.window = window;
  return layout;
}

class MemoryDeviceTableTest : public testing::Test {
 protected:
  static MemoryConfig Config() {
    MemoryConfig config;
    config.boot = 256_MiB;
    config.max = 256_MiB + 64_MiB;
    config.slots = 3;
    config.virtio_mem = {{"vmem0", 64_MiB, Bytes(0), Bytes(0), {}}};
    return config;
  }
  static PlugRequest Request(const std::string& id, Bytes size) {
    PlugRequest request;
    request.id = id;
    request.size = size;
    return request;
  }
  std::string Refusal(const PlugRequest& request) {
    const size_t before = table_.devices().size();
    try {
      table_.Reserve(request);
    } catch (const UsageError& e) {
      EXPECT_EQ(table_.devices().size(), before) << "a refused request left something behind";
      return e.what();
    }
    return "";
  }

  const Gpa window_start_ = Gpa((4_GiB).value);
  MemoryDeviceTable table_{Config(), Layout({window_start_, 64_MiB + 6_MiB})};
};

TEST_F(MemoryDeviceTableTest, DevicesGetTheLowestSlotAndTheFirstGap) {
  EXPECT_EQ(table_.Reserve(Request("a", 16_MiB)).slot, 0u);
  const MemoryDevice& b = table_.Reserve(Request("b", 16_MiB));
  EXPECT_EQ(b.slot, 1u);
  EXPECT_EQ(b.gpa.start, window_start_ + 16_MiB);
  table_.Erase("a");
  const MemoryDevice& c = table_.Reserve(Request("c", 8_MiB));
  EXPECT_EQ(c.slot, 0u);
  EXPECT_EQ(c.gpa.start, window_start_);
  const MemoryDevice& d = table_.Reserve(Request("d", 16_MiB));
  EXPECT_EQ(d.gpa.start, window_start_ + 32_MiB) << "the gap of 8 MiB is too small for it";
}

TEST_F(MemoryDeviceTableTest, SizesThatCannotBePluggedAreNamed) {
  EXPECT_THAT(Refusal(Request("a", Bytes(0))), HasSubstr("zero"));
  EXPECT_THAT(Refusal(Request("a", 1_MiB)), HasSubstr("1 MiB"));
  EXPECT_THAT(Refusal(Request("a", Bytes(4097))), HasSubstr("4097"));
  EXPECT_THAT(Refusal(Request("a", 66_MiB)), HasSubstr("64 MiB"));
  EXPECT_THAT(Refusal(Request("a", Bytes(~0ULL << 21))), HasSubstr("exceed"));
}

TEST_F(MemoryDeviceTableTest, WhatIsPluggedCountsAgainstTheMaximum) {
  table_.Reserve(Request("a", 48_MiB));
  EXPECT_THAT(Refusal(Request("b", 18_MiB)), HasSubstr("16 MiB at most"));
  EXPECT_EQ(Refusal(Request("b", 16_MiB)), "");
}

TEST_F(MemoryDeviceTableTest, NamesAreUniqueAndNotThoseOfOtherMemory) {
  EXPECT_THAT(Refusal(Request("", 2_MiB)), HasSubstr("id"));
  EXPECT_THAT(Refusal(Request("boot", 2_MiB)), HasSubstr("started with"));
  EXPECT_THAT(Refusal(Request("boot-high", 2_MiB)), HasSubstr("started with"));
  EXPECT_THAT(Refusal(Request("vmem0", 2_MiB)), HasSubstr("virtio-mem"));
  table_.Reserve(Request("a", 2_MiB));
  EXPECT_THAT(Refusal(Request("a", 2_MiB)), HasSubstr("already"));
}

TEST_F(MemoryDeviceTableTest, TheLastSlotIsTheLast) {
  for (const char* id : {"a", "b", "c"}) table_.Reserve(Request(id, 2_MiB));
  EXPECT_THAT(Refusal(Request("d", 2_MiB)), HasSubstr("all 3 memory slots"));
}

TEST_F(MemoryDeviceTableTest, AnAskedForSlotIsTakenOrRefused) {
  PlugRequest request = Request("a", 2_MiB);
  request.slot = 2;
  EXPECT_EQ(table_.Reserve(request).slot, 2u);
  request.id = "b";
  EXPECT_THAT(Refusal(request), HasSubstr("taken"));
  request.slot = 3;
  EXPECT_THAT(Refusal(request), HasSubstr("does not exist"));
}

TEST_F(MemoryDeviceTableTest, AnAskedForAddressIsTakenOrRefused) {
  PlugRequest request = Request("a", 4_MiB);
  request.address = window_start_ + 4_MiB;
  EXPECT_EQ(table_.Reserve(request).gpa.start, window_start_ + 4_MiB);
  request.id = "b";
  EXPECT_THAT(Refusal(request), HasSubstr("overlaps memory 'a'"));
  request.address = window_start_ + 6_MiB;
  EXPECT_THAT(Refusal(request), HasSubstr("overlaps memory 'a'"));
  request.address = window_start_ + 1_MiB;
  EXPECT_THAT(Refusal(request), HasSubstr("multiple of 2 MiB"));
  request.address = Gpa(0);
  EXPECT_THAT(Refusal(request), HasSubstr("outside the window"));
  request.address = window_start_ + 68_MiB;
  EXPECT_THAT(Refusal(request), HasSubstr("outside the window"));
  request.address = Gpa(~0ULL << 21);
  EXPECT_THAT(Refusal(request), HasSubstr("outside the window"));
}

TEST_F(MemoryDeviceTableTest, NoTwoDevicesShareAFile) {
  PlugRequest request = Request("a", 2_MiB);
  request.backing = BackingSpec{BackingKind::kFile, "/tmp/x"};
  table_.Reserve(request);
  request.id = "b";
  EXPECT_THAT(Refusal(request), HasSubstr("/tmp/x"));
}

TEST(MemoryDeviceTable, WithoutSlotsNothingCanBePlugged) {
  MemoryDeviceTable table(MemoryConfig{}, {});
  PlugRequest request;
  request.id = "a";
  request.size = 2_MiB;
  EXPECT_THROW(table.Reserve(request), UsageError);
}

TEST(MemoryDeviceTable, APluggedDeviceNeedsAFileOfItsOwn) {
  MemoryConfig config;
  config.max = 512_MiB;
  config.slots = 1;
  config.backing = {BackingKind::kFile, "/tmp/boot"};
  MemoryDeviceTable table(config, Layout({Gpa((4_GiB).value), 256_MiB}));
  PlugRequest request;
  request.id = "a";
  request.size = 2_MiB;
  EXPECT_THROW(table.Reserve(request), UsageError);
  request.backing = BackingSpec{BackingKind::kFile, "/tmp/boot"};
  EXPECT_THROW(table.Reserve(request), UsageError);
  request.backing = BackingSpec{BackingKind::kAnonymous, ""};
  EXPECT_NO_THROW(table.Reserve(request));
}

TEST_F(MemoryDeviceTableTest, ADeviceThatIsStillBeingPluggedIsNotFoundByItsSlot) {
  MemoryDevice& device = table_.Reserve(Request("a", 2_MiB));
  EXPECT_EQ(table_.FindSlot(0), nullptr);
  device.phase = MemoryDevice::Phase::kPlugged;
  EXPECT_EQ(table_.FindSlot(0), &device);
  EXPECT_EQ(table_.Find("a"), &device);
  EXPECT_EQ(table_.Find("b"), nullptr);
}

TEST(MemoryDevicePlaces, AreWhereAGuestWithBlocksOfMemoryTakesThem) {
  MemoryConfig config;
  config.max = 2_GiB;
  config.slots = 4;
  const MemoryLayout layout = MemoryLayout::For(config);
  MemoryDeviceTable table(config, layout);
  const auto place = [&table](const std::string& id, Bytes size, unsigned node = 0) {
    PlugRequest request;
    request.id = id;
    request.size = size;
    request.node = node;
    return table.Reserve(request).gpa.start;
  };
  EXPECT_EQ(place("small", 2_MiB), layout.window.start);
  EXPECT_EQ(place("blocks", 256_MiB), layout.window.start + kGuestBlock);
  EXPECT_EQ(place("between", 64_MiB), layout.window.start + 2_MiB);
  EXPECT_THROW(place("elsewhere", 2_MiB, 1), UsageError) << "one node";
}

TEST(MemoryDevicePlaces, LieInTheirNodesPartOfTheWindowWhileThereIsRoom) {
  MemoryConfig config;
  config.max = config.boot + 1_GiB;
  config.slots = 4;
  config.nodes = 3;
  const MemoryLayout layout = MemoryLayout::For(config);
  for (unsigned node = 0; node < 3; ++node) {
    EXPECT_TRUE(layout.window.Contains(layout.NodeWindow(node)));
    EXPECT_TRUE(IsAligned(layout.NodeWindow(node).start, kGuestBlock)) << node;
  }
  MemoryDeviceTable table(config, layout);
  PlugRequest request;
  request.size = 256_MiB;
  request.node = 2;
  for (const char* id : {"a", "b"}) {
    request.id = id;
    const MemoryDevice& device = table.Reserve(request);
    EXPECT_EQ(device.node, 2u);
    EXPECT_EQ(layout.NodeWindow(2).Contains(device.gpa), id[0] == 'a' || layout.NodeWindow(2).size >= 512_MiB);
  }
  request.id = "c";
  request.node = 3;
  EXPECT_THROW(table.Reserve(request), UsageError);
}

}  // namespace
}  // namespace faultline
