#include "devices/virtio/mem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/virtio_mem.h>

#include <string>

#include "guestmem/error.h"
#include "tests/devices/virtio/virtio_world.h"
#include "tests/guestmem/failing_host.h"

namespace faultline {
namespace {

using testing::HasSubstr;

constexpr Gpa kStart{(4_GiB).value};
constexpr uint64_t kInaccessible = uint64_t{1} << 1;
constexpr Bytes kBlock = 2_MiB;

class MemTest : public testing::Test {
 protected:
  explicit MemTest(Host& host = Host::System()) : world(host) {
    VirtioMemConfig config;
    config.id = "vmem0";
    config.region = {kStart, 64_MiB};
    config.on_change = [this](Bytes plugged) { told.store(plugged.value); };
    VirtioMemDevice device = MakeVirtioMem(config, world.environment());
    mem = &device.mem;
    driver.emplace(world, world.pci.Add(std::move(device.function)));
    driver->Start(kInaccessible, 1);
  }

  static Gpa Block(uint64_t n) { return kStart + kBlock * n; }
  struct Answer {
    uint16_t type = 0xffff;
    uint16_t state = 0xffff;
  };
  Answer Ask(uint16_t type, Gpa at, uint16_t blocks) {
    virtio_mem_req request = {};
    request.type = type;
    request.u.plug.addr = at.value;
    request.u.plug.nb_blocks = blocks;
    const Gpa in = driver->Allocate(sizeof(request));
    const Gpa out = driver->Allocate(sizeof(virtio_mem_resp));
    driver->Put(in, request);
    EXPECT_EQ(driver->Transfer(0, {{in, sizeof(request), false}, {out, sizeof(virtio_mem_resp), true}}).written,
              sizeof(virtio_mem_resp));
    const auto response = driver->Get<virtio_mem_resp>(out);
    return {response.type, response.u.state.state};
  }
  uint16_t Plug(uint64_t block, uint16_t count) { return Ask(VIRTIO_MEM_REQ_PLUG, Block(block), count).type; }
  uint16_t Unplug(uint64_t block, uint16_t count) { return Ask(VIRTIO_MEM_REQ_UNPLUG, Block(block), count).type; }
  uint16_t StateOf(uint64_t block, uint16_t count) { return Ask(VIRTIO_MEM_REQ_STATE, Block(block), count).state; }
  bool Mapped(uint64_t block, uint64_t count = 1) { return world.memory.IsMapped({Block(block), kBlock * count}); }
  uint64_t Config(size_t field) { return driver->DeviceConfig(static_cast<unsigned>(field), 8); }

  VirtioWorld world;
  VirtioMem* mem = nullptr;
  std::optional<VirtioDriver> driver;
  std::atomic<uint64_t> told{~uint64_t{0}};
};

TEST_F(MemTest, TheConfigurationSaysWhatThereIsAndWhatIsWanted) {
  EXPECT_EQ(Config(offsetof(virtio_mem_config, block_size)), kBlock.value);
  EXPECT_EQ(Config(offsetof(virtio_mem_config, addr)), kStart.value);
  EXPECT_EQ(Config(offsetof(virtio_mem_config, region_size)), (64_MiB).value);
  EXPECT_EQ(Config(offsetof(virtio_mem_config, requested_size)), 0u);
  mem->Resize(16_MiB);
  EXPECT_EQ(Config(offsetof(virtio_mem_config, requested_size)), (16_MiB).value);
  EXPECT_EQ(driver->Common(VIRTIO_PCI_COMMON_CFGGENERATION, 1), 1u);
  EXPECT_TRUE(mem->state().driver);
  EXPECT_EQ(mem->state().requested, 16_MiB);
}

TEST_F(MemTest, BlocksComeAndGoAsTheDriverAsksWithinWhatIsWanted) {
  mem->Resize(16_MiB);
  EXPECT_EQ(Plug(0, 4), VIRTIO_MEM_RESP_ACK);
  EXPECT_TRUE(Mapped(0, 4));
  EXPECT_FALSE(Mapped(4));
  EXPECT_EQ(Plug(10, 4), VIRTIO_MEM_RESP_ACK);
  EXPECT_EQ(Plug(20, 1), VIRTIO_MEM_RESP_NACK) << "more than is wanted";
  EXPECT_EQ(Config(offsetof(virtio_mem_config, plugged_size)), (16_MiB).value);
  EXPECT_EQ(StateOf(0, 4), VIRTIO_MEM_STATE_PLUGGED);
  EXPECT_EQ(StateOf(4, 6), VIRTIO_MEM_STATE_UNPLUGGED);
  EXPECT_EQ(StateOf(3, 2), VIRTIO_MEM_STATE_MIXED);

  driver->Put(Block(1), uint64_t{42});
  EXPECT_EQ(Unplug(1, 2), VIRTIO_MEM_RESP_ACK);
  EXPECT_FALSE(Mapped(1));
  EXPECT_TRUE(Mapped(0));
  EXPECT_TRUE(Mapped(3));
  EXPECT_EQ(mem->state().plugged, 12_MiB);
  EXPECT_EQ(Plug(1, 1), VIRTIO_MEM_RESP_ACK);
  EXPECT_EQ(driver->Get<uint64_t>(Block(1)), 0u) << "content of an earlier life";
  EXPECT_EQ(Ask(VIRTIO_MEM_REQ_UNPLUG_ALL, Gpa(0), 0).type, VIRTIO_MEM_RESP_ACK);
  EXPECT_EQ(Config(offsetof(virtio_mem_config, plugged_size)), 0u);
  EXPECT_EQ(world.memory.Regions().size(), 1u);
  for (int i = 0; i < 10000 && told.load() != 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(told.load(), 0u);
}

TEST_F(MemTest, RequestsThatMakeNoSenseAreErrorsAndChangeNothing) {
  mem->Resize(64_MiB);
  ASSERT_EQ(Plug(0, 2), VIRTIO_MEM_RESP_ACK);
  EXPECT_EQ(Plug(1, 2), VIRTIO_MEM_RESP_ERROR) << "plugged already";
  EXPECT_EQ(Unplug(1, 2), VIRTIO_MEM_RESP_ERROR) << "not plugged";
  EXPECT_EQ(Plug(32, 1), VIRTIO_MEM_RESP_ERROR) << "behind the region";
  EXPECT_EQ(Plug(31, 2), VIRTIO_MEM_RESP_ERROR) << "over its end";
  EXPECT_EQ(Plug(4, 0), VIRTIO_MEM_RESP_ERROR) << "no blocks";
  EXPECT_EQ(Plug(4, 0xffff), VIRTIO_MEM_RESP_ERROR);
  EXPECT_EQ(Ask(VIRTIO_MEM_REQ_PLUG, kStart + kPageSize, 1).type, VIRTIO_MEM_RESP_ERROR) << "not a block";
  EXPECT_EQ(Ask(VIRTIO_MEM_REQ_PLUG, Gpa(0), 1).type, VIRTIO_MEM_RESP_ERROR) << "before the region";
  EXPECT_EQ(Ask(VIRTIO_MEM_REQ_PLUG, Gpa(~uint64_t{0} - (2_MiB).value + 1), 8).type, VIRTIO_MEM_RESP_ERROR);
  EXPECT_EQ(Ask(VIRTIO_MEM_REQ_STATE, Gpa(0), 1).type, VIRTIO_MEM_RESP_ERROR);
  EXPECT_EQ(Ask(77, kStart, 1).type, VIRTIO_MEM_RESP_ERROR);
  EXPECT_EQ(mem->state().plugged, 4_MiB);
  EXPECT_TRUE(Mapped(0, 2));
  EXPECT_EQ(world.memory.Regions().size(), 3u);
}

TEST_F(MemTest, ShrinkingBelowWhatIsPluggedIsForTheGuestToFollow) {
  mem->Resize(8_MiB);
  ASSERT_EQ(Plug(0, 4), VIRTIO_MEM_RESP_ACK);
  mem->Resize(Bytes(0));
  EXPECT_EQ(mem->state().plugged, 8_MiB);
  EXPECT_EQ(Plug(8, 1), VIRTIO_MEM_RESP_NACK);
  EXPECT_EQ(Unplug(0, 4), VIRTIO_MEM_RESP_ACK);
  EXPECT_EQ(mem->state().plugged, Bytes(0));
}

TEST_F(MemTest, SizesThatNoBlocksMakeAreRefusedWithTheWayOut) {
  try {
    mem->Resize(3_MiB);
    FAIL();
  } catch (const UsageError& e) {
    EXPECT_THAT(e.what(), HasSubstr("blocks of 2 MiB"));
  }
  try {
    mem->Resize(66_MiB);
    FAIL();
  } catch (const UsageError& e) {
    EXPECT_THAT(e.what(), HasSubstr("64 MiB at most"));
  }
  VirtioMemConfig config;
  config.id = "bad";
  config.region = {kStart, 64_MiB};
  for (const Bytes block : {Bytes(0), 1_MiB, 3_MiB, 128_MiB}) {
    config.block = block;
    EXPECT_THROW(MakeVirtioMem(config, world.environment()), UsageError) << block.value;
  }
  config.block = kBlock;
  config.backing.kind = BackingKind::kFile;
  EXPECT_THROW(MakeVirtioMem(config, world.environment()), UsageError);
}

TEST_F(MemTest, ADriverThatWouldTouchUnpluggedMemoryIsNotAccepted) {
  EXPECT_FALSE(driver->Negotiate(uint64_t{1} << VIRTIO_F_VERSION_1));
  EXPECT_TRUE(driver->Negotiate(uint64_t{1} << VIRTIO_F_VERSION_1 | kInaccessible));
}

TEST_F(MemTest, APinnedBlockIsBusyAndStaysAsItIs) {
  mem->Resize(8_MiB);
  ASSERT_EQ(Plug(0, 3), VIRTIO_MEM_RESP_ACK);
  driver->Put(Block(1), uint64_t{42});
  AccessResult why = AccessResult::kOk;
  Pin pin = world.memory.PinRange({Block(1), kPageSize}, true, "a disk", &why);
  ASSERT_EQ(why, AccessResult::kOk);
  EXPECT_EQ(Unplug(0, 3), VIRTIO_MEM_RESP_BUSY);
  EXPECT_TRUE(Mapped(0, 3));
  EXPECT_EQ(driver->Get<uint64_t>(Block(1)), 42u);
  EXPECT_EQ(mem->state().plugged, 6_MiB);
  EXPECT_EQ(mem->state().failures, 1u);
  EXPECT_THAT(mem->state().last_failure, HasSubstr("pinned by a disk"));
  pin = Pin();
  EXPECT_EQ(Unplug(0, 3), VIRTIO_MEM_RESP_ACK);
}

TEST_F(MemTest, ManyRequestsAtOnceAreAnsweredOneByOne) {
  mem->Resize(64_MiB);
  const Gpa in = driver->Allocate(4 * sizeof(virtio_mem_req));
  const Gpa out = driver->Allocate(4 * 16);
  for (uint16_t i = 0; i < 4; ++i) {
    virtio_mem_req request = {};
    request.u.plug.addr = Block(i).value;
    request.u.plug.nb_blocks = 1;
    driver->Put(in + Bytes(i * sizeof(request)), request);
    driver->Add(0, {{in + Bytes(i * sizeof(request)), sizeof(request), false}, {out + Bytes(16U * i), 10, true}});
  }
  driver->Kick(0);
  for (int i = 0; i < 4; ++i) driver->WaitUsed(0);
  EXPECT_EQ(mem->state().plugged, 8_MiB);
}

TEST_F(MemTest, AResetForgetsRequestsAndKeepsTheBlocks) {
  mem->Resize(64_MiB);
  ASSERT_EQ(Plug(0, 8), VIRTIO_MEM_RESP_ACK);
  driver->Start(kInaccessible, 1);
  EXPECT_EQ(Config(offsetof(virtio_mem_config, plugged_size)), (16_MiB).value);
  EXPECT_EQ(StateOf(0, 8), VIRTIO_MEM_STATE_PLUGGED);
  EXPECT_EQ(Ask(VIRTIO_MEM_REQ_UNPLUG_ALL, Gpa(0), 0).type, VIRTIO_MEM_RESP_ACK);
  EXPECT_EQ(mem->state().plugged, Bytes(0));
}

TEST_F(MemTest, RequestsInBuffersTooSmallBreakTheDevice) {
  const Gpa at = driver->Allocate(64);
  driver->Add(0, {{at, 8, false}, {at, 16, true}});
  driver->Kick(0);
  EXPECT_TRUE(driver->WaitNeedsReset());
  driver->Start(kInaccessible, 1);
  driver->Add(0, {{at, 24, false}, {at, 2, true}});
  driver->Kick(0);
  EXPECT_TRUE(driver->WaitNeedsReset());
  driver->Start(kInaccessible, 1);
  mem->Resize(8_MiB);
  EXPECT_EQ(Plug(0, 1), VIRTIO_MEM_RESP_ACK);
}

// Plugs with the Nth call to the host failing, for every N: all or nothing, and the truth in either case.
class FailingMemTest : public MemTest {
 protected:
  FailingMemTest() : MemTest(host()) {}
  static FailingHost& host() {
    static FailingHost* const failing = new FailingHost;
    return *failing;
  }
};

TEST_F(FailingMemTest, WhatTheHostRefusesIsBusyAndLeavesEverythingAsItWas) {
  mem->Resize(64_MiB);
  unsigned refused = 0;
  for (uint64_t nth = 1;; ++nth) {
    host().Arm(nth, ENOMEM, [](const HostCall& call) { return call.kind == HostCallKind::kMmap; });
    const uint16_t answer = Plug(0, 4);
    const bool fired = host().fired() > 0;
    host().Disarm();
    if (answer == VIRTIO_MEM_RESP_BUSY) {
      EXPECT_TRUE(fired);
      EXPECT_EQ(mem->state().plugged, Bytes(0));
      EXPECT_EQ(world.memory.Regions().size(), 1u);
      ++refused;
      continue;
    }
    ASSERT_EQ(answer, VIRTIO_MEM_RESP_ACK);
    EXPECT_TRUE(Mapped(0, 4));
    break;
  }
  EXPECT_GE(refused, 4u);
  // The host keeps pages when asked for them back: the answer comes when they are gone with their mapping.
  driver->Put(Block(0), uint64_t{1});
  world.memory.DrainForTest();
  const Bytes before = host().mapped();
  host().Arm(
      1, ENOMEM,
      [](const HostCall& call) { return call.kind == HostCallKind::kMadvise && call.detail == MADV_DONTNEED; }, 100);
  EXPECT_EQ(Unplug(0, 1), VIRTIO_MEM_RESP_ACK);
  EXPECT_GT(host().fired(), 0u);
  host().Disarm();
  EXPECT_EQ(host().mapped(), before - kBlock);
}

}  // namespace
}  // namespace faultline
