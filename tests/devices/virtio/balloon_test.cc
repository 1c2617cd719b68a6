#include "devices/virtio/balloon.h"

#include <gtest/gtest.h>
#include <linux/virtio_balloon.h>

#include <vector>

#include "tests/devices/virtio/virtio_world.h"

namespace faultline {
namespace {

constexpr uint64_t kStats = 1 << VIRTIO_BALLOON_F_STATS_VQ, kHinting = 1 << VIRTIO_BALLOON_F_FREE_PAGE_HINT,
                   kReporting = 1 << VIRTIO_BALLOON_F_REPORTING;
constexpr unsigned kInflateQueue = 0, kDeflateQueue = 1, kStatsQueue = 2, kHintQueue = 3, kReportQueue = 4;

class BalloonTest : public testing::Test {
 protected:
  BalloonTest() {
    BalloonConfig config;
    config.target = 1_MiB;
    config.on_change = [this](Bytes held) { told.store(held.value); };
    VirtioBalloonDevice device = MakeVirtioBalloon(config, world.environment());
    balloon = &device.balloon;
    driver.emplace(world, world.pci.Add(std::move(device.function)));
    driver->Start(kStats | kHinting | kReporting, 5);
  }

  // Memory beyond what the driver's rings lie in: page `n` of it.
  static Gpa Page(uint32_t n) { return Gpa((16_MiB).value) + kPageSize * n; }
  void Fill(uint32_t first, uint32_t count) {
    for (uint32_t n = first; n < first + count; ++n) driver->Put(Page(n), uint64_t{42});
  }
  uint64_t Content(uint32_t n) { return driver->Get<uint64_t>(Page(n)); }
  Bytes Present() const { return world.memory.present_bytes(); }
  // Names pages by their numbers within that memory, in one buffer.
  void Transfer(unsigned queue, const std::vector<uint32_t>& pages) {
    const Gpa at = driver->Allocate(4 * pages.size());
    for (size_t i = 0; i < pages.size(); ++i) {
      driver->Put(at + Bytes(4 * i), static_cast<uint32_t>(Gfn(Page(pages[i])).value));
    }
    driver->Transfer(queue, {{at, static_cast<uint32_t>(4 * pages.size()), false}});
  }
  uint32_t Config(size_t field) { return static_cast<uint32_t>(driver->DeviceConfig(static_cast<unsigned>(field), 4)); }
  template <class Condition>
  static bool Eventually(Condition condition) {
    for (int i = 0; i < 30000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return condition();
  }

  VirtioWorld world;
  Balloon* balloon = nullptr;
  std::optional<VirtioDriver> driver;
  std::atomic<uint64_t> told{0};
};

TEST_F(BalloonTest, TheGuestLearnsTheTargetAndTheHostWhatItGaveUp) {
  EXPECT_EQ(Config(offsetof(virtio_balloon_config, num_pages)), 256u);
  balloon->SetTarget(16_MiB);
  EXPECT_EQ(Config(offsetof(virtio_balloon_config, num_pages)), 4096u);
  EXPECT_EQ(balloon->state().target, 16_MiB);
  driver->BarWrite(0x2000 + offsetof(virtio_balloon_config, actual), 4, 4096);
  EXPECT_EQ(balloon->state().held, 16_MiB);
  EXPECT_TRUE(Eventually([&] { return told.load() == (16_MiB).value; }));
  EXPECT_TRUE(balloon->state().driver);
  driver->SetStatus(0);
  EXPECT_EQ(balloon->state().held, Bytes(0)) << "a driver that starts anew holds nothing";
  EXPECT_FALSE(balloon->state().driver);
}

TEST_F(BalloonTest, InflatedPagesAreTheHostsWhenTheBufferComesBack) {
  Fill(0, 600);
  const Bytes before = Present();
  Transfer(kInflateQueue, {5, 3, 4, 300, 9});
  EXPECT_LE(Present(), before - kPageSize * 4);  // the buffer itself may be new
  EXPECT_EQ(balloon->state().returned, kPageSize * 5);
  for (const uint32_t n : {3U, 4U, 5U, 9U, 300U}) EXPECT_EQ(Content(n), 0u) << n;
  for (const uint32_t n : {2U, 6U, 8U, 10U, 299U, 301U}) EXPECT_EQ(Content(n), 42u) << n;
}

TEST_F(BalloonTest, NeighbouringPagesGoInOneCallWhateverTheirOrder) {
  Fill(0, 512);
  std::vector<uint32_t> pages;
  for (uint32_t n = 256; n-- > 0;) pages.push_back(n * 37 % 256);
  Transfer(kInflateQueue, pages);
  EXPECT_EQ(balloon->state().returned, 1_MiB);
  EXPECT_EQ(balloon->state().host_calls, 1u);
}

TEST_F(BalloonTest, PagesThatAreNotThereOrNoMemoryAtAllDoNoHarm) {
  const Gpa at = driver->Allocate(16);
  driver->Put(at, uint32_t{0xffffffff});
  driver->Put(at + Bytes(4), uint32_t{0x80000});
  driver->Transfer(kInflateQueue, {{at, 8, false}});
  Transfer(kInflateQueue, {7, 7, 7});
  Transfer(kDeflateQueue, {1, 2, 3});
  EXPECT_EQ(balloon->state().returned, Bytes(0));
  Fill(7, 1);
  EXPECT_EQ(Content(7), 42u);
}

TEST_F(BalloonTest, ReportedRangesAreTheHosts) {
  Fill(0, 1024);
  driver->Transfer(kReportQueue, {{Page(512), static_cast<uint32_t>((2_MiB).value), true},
                                  {Page(0), static_cast<uint32_t>((1_MiB).value), true}});
  EXPECT_EQ(balloon->state().reported, 3_MiB);
  EXPECT_EQ(balloon->state().returned, Bytes(0));
  EXPECT_EQ(Content(255), 0u);
  EXPECT_EQ(Content(256), 42u);
  EXPECT_EQ(Content(512), 0u);
}

TEST_F(BalloonTest, HintedPagesAreTakenDuringARoundAlone) {
  Fill(0, 8);
  const auto hint = [&](uint32_t first) { driver->Transfer(kHintQueue, {{Page(first), 4096, true}}); };
  const auto say = [&](uint32_t id) {
    const Gpa at = driver->Allocate(4);
    driver->Put(at, id);
    driver->Transfer(kHintQueue, {{at, 4, false}});
  };
  hint(0);
  EXPECT_EQ(Content(0), 42u) << "no round";
  ASSERT_TRUE(balloon->StartHinting());
  EXPECT_FALSE(balloon->StartHinting()) << "one at a time";
  const uint32_t id = Config(offsetof(virtio_balloon_config, free_page_hint_cmd_id));
  hint(1);
  EXPECT_EQ(Content(1), 42u) << "the driver has not answered";
  say(id + 1);
  hint(2);
  EXPECT_EQ(Content(2), 42u) << "it answered another round";
  say(id);
  hint(3);
  EXPECT_EQ(Content(3), 0u);
  say(VIRTIO_BALLOON_CMD_ID_STOP);
  EXPECT_EQ(Config(offsetof(virtio_balloon_config, free_page_hint_cmd_id)), uint32_t{VIRTIO_BALLOON_CMD_ID_DONE});
  EXPECT_FALSE(balloon->state().hinting);
  hint(4);
  EXPECT_EQ(Content(4), 42u) << "the round is over";
  ASSERT_TRUE(balloon->StartHinting());
  EXPECT_EQ(Config(offsetof(virtio_balloon_config, free_page_hint_cmd_id)), id + 1);
}

TEST_F(BalloonTest, StatisticsComeAtTheStartAndWheneverTheTimerAsks) {
  const Gpa at = driver->Allocate(64);
  const auto put = [&](unsigned index, uint16_t tag, uint64_t value) {
    driver->Put(at + Bytes(10 * index), virtio_balloon_stat{tag, value});
  };
  put(0, VIRTIO_BALLOON_S_MEMFREE, 123456);
  put(1, 999, 1);
  put(2, VIRTIO_BALLOON_S_MEMTOT, 654321);
  driver->Add(kStatsQueue, {{at, 30, false}});
  driver->Kick(kStatsQueue);
  ASSERT_TRUE(Eventually([&] { return balloon->statistics().values[VIRTIO_BALLOON_S_MEMTOT] == 654321; }));
  EXPECT_EQ(balloon->statistics().values[VIRTIO_BALLOON_S_MEMFREE], 123456);
  EXPECT_FALSE(balloon->statistics().values[VIRTIO_BALLOON_S_AVAIL]);
  balloon->SetStatisticsInterval(std::chrono::seconds(1));
  driver->WaitUsed(kStatsQueue);
  put(0, VIRTIO_BALLOON_S_MEMFREE, 7);
  driver->Add(kStatsQueue, {{at, 10, false}});
  driver->Kick(kStatsQueue);
  EXPECT_TRUE(Eventually([&] { return balloon->statistics().values[VIRTIO_BALLOON_S_MEMFREE] == 7; }));
  EXPECT_FALSE(balloon->statistics().values[VIRTIO_BALLOON_S_MEMTOT]) << "old values are not mixed with new ones";
  balloon->SetStatisticsInterval(std::chrono::seconds(0));
}

TEST_F(BalloonTest, QueuesOfFeaturesThatWereNotTakenDoNotExist) {
  driver->Start(kReporting, 3);
  Fill(0, 1);
  driver->Transfer(2, {{Page(0), 4096, true}});
  EXPECT_EQ(balloon->state().reported, kPageSize);
  EXPECT_FALSE(balloon->StartHinting());
}

TEST_F(BalloonTest, ABufferLargerThanAnyDriversBreaksTheDevice) {
  driver->Add(kInflateQueue, {{Gpa(0x1000), 1 << 20, false}});
  driver->Kick(kInflateQueue);
  EXPECT_TRUE(driver->WaitNeedsReset());
  driver->Start(0, 2);
  Fill(1, 1);
  Transfer(kInflateQueue, {1});
  EXPECT_EQ(Content(1), 0u);
}

}  // namespace
}  // namespace faultline
