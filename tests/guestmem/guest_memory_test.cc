#include "guestmem/guest_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "guestmem/error.h"
#include "tests/guestmem/fakes.h"
#include "tests/guestmem/memory_world.h"

namespace faultline {
namespace {

using ::testing::HasSubstr;

constexpr Gpa kBase{0x100000000};

// With userfaults, and with memory that only the facade touches.
class GuestMemoryTest : public ::testing::TestWithParam<bool> {
 protected:
  MemoryWorld world_{MemoryWorld::Options(/*fault_around=*/4, /*userfault=*/GetParam())};
  GuestMemory& memory_ = world_.memory;
};
INSTANTIATE_TEST_SUITE_P(Modes, GuestMemoryTest, ::testing::Bool(),
                         [](const auto& i) { return i.param ? "Userfault" : "Plain"; });

template <class F>
std::string UsageErrorOf(F action) {
  try {
    action();
  } catch (const UsageError& e) {
    return e.what();
  }
  return "(no usage error)";
}

TEST_P(GuestMemoryTest, ARangeThatCannotBeMemoryIsRefusedWithAReasonAndChangesNothing) {
  world_.Plug(kBase, 4_MiB);
  EXPECT_THAT(UsageErrorOf([&] { world_.Plug(Gpa(0), Bytes(0)); }), HasSubstr("size zero"));
  EXPECT_THAT(UsageErrorOf([&] { world_.Plug(Gpa(0), Bytes(4097)); }), HasSubstr("page-aligned"));
  EXPECT_THAT(UsageErrorOf([&] { world_.Plug(Gpa(8), kPageSize); }), HasSubstr("page-aligned"));
  EXPECT_THAT(UsageErrorOf([&] { world_.Plug(Gpa(~uint64_t{0xfff}), 8_KiB); }), HasSubstr("address space"));
  EXPECT_THAT(UsageErrorOf([&] { world_.Plug(kBase + 2_MiB, 4_MiB); }), HasSubstr("overlaps 'dimm' at 0x100000000"));
  EXPECT_THAT(UsageErrorOf([&] { world_.Plug(kBase - 2_MiB, 8_MiB); }), HasSubstr("overlaps"));
  EXPECT_THAT(UsageErrorOf([&] { world_.Plug(kBase, kPageSize); }), HasSubstr("overlaps"));
  ASSERT_EQ(memory_.Regions().size(), 1u);
  EXPECT_EQ(memory_.Regions()[0].gpa, (GpaRange{kBase, 4_MiB}));
  EXPECT_EQ(world_.slots.calls(), std::vector<std::string>{"plug"});
}

TEST_P(GuestMemoryTest, FreshMemoryIsZeroAndKeepsWhatIsWritten) {
  world_.Plug(kBase, 4_MiB);
  std::vector<std::byte> out(10'000, std::byte{1});
  ASSERT_EQ(memory_.Read(kBase + Bytes(4000), out), AccessResult::kOk);
  for (const std::byte b : out) ASSERT_EQ(b, std::byte{0});
  std::vector<std::byte> in(10'000);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::byte>(i * 7);
  ASSERT_EQ(memory_.Write(kBase + Bytes(4000), in), AccessResult::kOk);
  ASSERT_EQ(memory_.Read(kBase + Bytes(4000), out), AccessResult::kOk);
  EXPECT_EQ(out, in);
}

TEST_P(GuestMemoryTest, AnAccessMaySpanRegionsButNotAHole) {
  world_.Plug(kBase, 2_MiB);
  world_.Plug(kBase + 2_MiB, 2_MiB);
  std::vector<std::byte> buffer(8192, std::byte{0x3c});
  EXPECT_EQ(memory_.Write(kBase + 2_MiB - 4_KiB, buffer), AccessResult::kOk);
  EXPECT_EQ(memory_.Read(kBase + 2_MiB - 4_KiB, buffer), AccessResult::kOk);
  EXPECT_EQ(memory_.Read(kBase + 4_MiB - 4_KiB, buffer), AccessResult::kNotMapped);
  EXPECT_EQ(memory_.Read(kBase - Bytes(1), buffer), AccessResult::kNotMapped);
  EXPECT_EQ(memory_.Read(Gpa(~uint64_t{0}), buffer), AccessResult::kNotMapped);
  EXPECT_EQ(memory_.Read(kBase, {}), AccessResult::kOk);
}

TEST_P(GuestMemoryTest, ReadOnlyMemoryIsReadAndNotWritten) {
  RegionSpec spec;
  spec.name = "rom";
  spec.gpa = {kBase, 2_MiB};
  spec.read_only = true;
  memory_.Plug(spec);
  std::byte byte{};
  EXPECT_EQ(memory_.Read(kBase, {&byte, 1}), AccessResult::kOk);
  EXPECT_EQ(memory_.Write(kBase, {&byte, 1}), AccessResult::kReadOnly);
  AccessResult why = AccessResult::kOk;
  EXPECT_FALSE(memory_.PinRange({kBase, kPageSize}, /*for_write=*/true, "disk", &why));
  EXPECT_EQ(why, AccessResult::kReadOnly);
  EXPECT_TRUE(memory_.PinRange({kBase, kPageSize}, /*for_write=*/false, "disk", &why));
}

TEST_P(GuestMemoryTest, FindsRegionsByAddressAndRangesThatAreWhollyMapped) {
  const RegionId a = world_.Plug(kBase, 2_MiB);
  const RegionId b = world_.Plug(kBase + 2_MiB, 2_MiB);
  EXPECT_EQ(memory_.FindRegion(kBase + Bytes(5)), a);
  EXPECT_EQ(memory_.FindRegion(kBase + 2_MiB), b);
  EXPECT_EQ(memory_.FindRegion(kBase + 4_MiB), std::nullopt);
  EXPECT_TRUE(memory_.IsMapped({kBase, 4_MiB}));
  EXPECT_FALSE(memory_.IsMapped({kBase, 4_MiB + Bytes(1)}));
  EXPECT_FALSE(memory_.IsMapped({kBase - Bytes(1), Bytes(2)}));
}

TEST_P(GuestMemoryTest, AnUnpluggedRangeIsGoneAndItsIdIsNeverUsedAgain) {
  const RegionId id = world_.Plug(kBase, 2_MiB);
  memory_.Unplug(id);
  std::byte byte{};
  EXPECT_EQ(memory_.Read(kBase, {&byte, 1}), AccessResult::kNotMapped);
  EXPECT_TRUE(memory_.Regions().empty());
  EXPECT_THAT(UsageErrorOf([&] { memory_.Unplug(id); }), HasSubstr("unplugged already"));
  EXPECT_THAT(UsageErrorOf([&] { memory_.Unplug(RegionId{}); }), HasSubstr("no memory region"));
  EXPECT_NE(world_.Plug(kBase, 2_MiB), id);
}

TEST_P(GuestMemoryTest, OneCycleAfterTheOtherReusesTheTablesAndShowsZeroes) {
  for (int cycle = 0; cycle < 20; ++cycle) {
    const RegionId id = world_.Plug(kBase, 8_MiB);
    for (uint64_t at = 0; at < (8_MiB).value; at += (512_KiB).value) {
      uint64_t value = 1;
      ASSERT_EQ(memory_.Read(kBase + Bytes(at), std::as_writable_bytes(std::span(&value, 1))), AccessResult::kOk);
      ASSERT_EQ(value, 0u);
      value = at + 1;
      ASSERT_EQ(memory_.Write(kBase + Bytes(at), std::as_bytes(std::span(&value, 1))), AccessResult::kOk);
    }
    const UnplugReport report = memory_.Unplug(id);
    EXPECT_EQ(report.tables, 4u);
    EXPECT_GE(report.discarded, kPageSize * 16);
    EXPECT_GE(report.total_ns, report.revoke_ns + report.slot_delete_ns + report.scan_ns + report.discard_ns);
  }
  const TableTotals totals = memory_.table_totals();
  EXPECT_EQ(totals.allocated, 4u);
  EXPECT_EQ(totals.recycled, 19u * 4);
  EXPECT_EQ(totals.limbo, 4u);
  EXPECT_EQ(memory_.present_bytes(), Bytes(0));
}

TEST_P(GuestMemoryTest, RegionsThatDoNotBeginOnALeafWork) {
  const Gpa odd = kBase + kPageSize * 300;
  const RegionId id = world_.Plug(odd, kPageSize * 700);
  std::vector<std::byte> data((kPageSize * 700).value);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i / 4096);
  ASSERT_EQ(memory_.Write(odd, data), AccessResult::kOk);
  std::vector<std::byte> back(data.size());
  ASSERT_EQ(memory_.Read(odd, back), AccessResult::kOk);
  EXPECT_EQ(back, data);
  EXPECT_EQ(memory_.present_bytes(), kPageSize * 700);
  EXPECT_EQ(memory_.Unplug(id).discarded, kPageSize * 700);
}

TEST_P(GuestMemoryTest, WhatARegionShowsCountsAsPresent) {
  world_.Plug(kBase, 2_MiB);
  EXPECT_EQ(memory_.present_bytes(), Bytes(0));
  std::byte byte{};
  ASSERT_EQ(memory_.Read(kBase + kPageSize * 5, {&byte, 1}), AccessResult::kOk);
  EXPECT_EQ(memory_.present_bytes(), kPageSize * 4);  // the fault-around window
  EXPECT_EQ(memory_.Regions()[0].present, kPageSize * 4);
}

// --- Pins ---

TEST_P(GuestMemoryTest, APinnedRangeIsThereAndItsUnplugFailsNamingTheDevice) {
  const RegionId id = world_.Plug(kBase, 2_MiB);
  AccessResult why = AccessResult::kHostError;
  Pin pin = memory_.PinRange({kBase + kPageSize, 8_KiB}, true, "virtio-blk0", &why);
  ASSERT_TRUE(pin);
  EXPECT_EQ(why, AccessResult::kOk);
  ASSERT_EQ(pin.bytes().size(), 8192u);
  pin.bytes()[0] = std::byte{0x11};
  pin.bytes()[8191] = std::byte{0x22};
  EXPECT_EQ(memory_.Regions()[0].pins, 1u);
  try {
    memory_.Unplug(id, {.pin_deadline = std::chrono::milliseconds(5)});
    FAIL() << "unplugged a pinned region";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("virtio-blk0"));
  }
  // As it was: mapped, readable, with its content, and open for pins.
  std::byte byte{};
  ASSERT_EQ(memory_.Read(kBase + kPageSize, {&byte, 1}), AccessResult::kOk);
  EXPECT_EQ(byte, std::byte{0x11});
  EXPECT_TRUE(memory_.PinRange({kBase, kPageSize}, true, "virtio-net0", &why));
  EXPECT_EQ(world_.slots.calls(), std::vector<std::string>{"plug"});
  pin = Pin();
  memory_.Unplug(id);
}

TEST_P(GuestMemoryTest, UnplugWaitsForAPinThatIsDroppedInTime) {
  const RegionId id = world_.Plug(kBase, 2_MiB);
  AccessResult why = AccessResult::kHostError;
  std::thread device;
  {
    Pin pin = memory_.PinRange({kBase, kPageSize}, true, "disk", &why);
    ASSERT_TRUE(pin);
    device = std::thread([p = std::move(pin)]() mutable {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      p.bytes()[0] = std::byte{1};
      p = Pin();
    });
  }
  memory_.Unplug(id, {.pin_deadline = std::chrono::minutes(5)});
  device.join();
  EXPECT_TRUE(memory_.Regions().empty());
}

TEST_P(GuestMemoryTest, WhatIsNotInOneRegionIsNotPinned) {
  world_.Plug(kBase, 2_MiB);
  world_.Plug(kBase + 2_MiB, 2_MiB);
  for (const GpaRange range :
       {GpaRange{kBase + 2_MiB - 4_KiB, 8_KiB}, GpaRange{kBase - 4_KiB, 8_KiB}, GpaRange{kBase + 4_MiB, 4_KiB},
        GpaRange{kBase, Bytes(0)}, GpaRange{Gpa(~uint64_t{0xfff}), 8_KiB}}) {
    AccessResult why = AccessResult::kOk;
    EXPECT_FALSE(memory_.PinRange(range, false, "disk", &why));
    EXPECT_EQ(why, AccessResult::kNotMapped);
  }
  EXPECT_FALSE(memory_.PinRange({kBase + 4_MiB, 4_KiB}, false, "disk", nullptr));
}

TEST_P(GuestMemoryTest, MovingAPinMovesTheHold) {
  const RegionId id = world_.Plug(kBase, 2_MiB);
  AccessResult why = AccessResult::kOk;
  Pin a = memory_.PinRange({kBase, kPageSize}, false, "a", &why);
  Pin b = std::move(a);
  EXPECT_TRUE(b);
  EXPECT_EQ(memory_.Regions()[0].pins, 1u);
  Pin c = memory_.PinRange({kBase, kPageSize}, false, "c", &why);
  b = std::move(c);
  EXPECT_EQ(memory_.Regions()[0].pins, 1u);
  b = Pin();
  EXPECT_EQ(memory_.Regions()[0].pins, 0u);
  memory_.Unplug(id);
}

// --- Listeners ---

TEST_P(GuestMemoryTest, AListenerSeesPlugThenRevokeThenUnmap) {
  RegionView seen{};
  world_.slots.on_plug = [&](const RegionView& view) { seen = view; };
  const RegionId id = world_.Plug(kBase, 2_MiB);
  EXPECT_EQ(seen.id, id);
  EXPECT_EQ(seen.gpa, (GpaRange{kBase, 2_MiB}));
  EXPECT_EQ(seen.hva.size, 2_MiB);
  memory_.Unplug(id);
  EXPECT_EQ(world_.slots.calls(), (std::vector<std::string>{"plug", "revoke", "unmap"}));
}

TEST_P(GuestMemoryTest, APlugThatTheListenerRefusesLeavesNoTrace) {
  world_.slots.on_plug = [](const RegionView&) { throw Error("no slot is free: unplug something"); };
  EXPECT_THROW(world_.Plug(kBase, 2_MiB), Error);
  EXPECT_TRUE(memory_.Regions().empty());
  EXPECT_FALSE(memory_.IsMapped({kBase, kPageSize}));
  world_.slots.on_plug = nullptr;
  world_.Plug(kBase, 2_MiB);
  EXPECT_TRUE(memory_.IsMapped({kBase, 2_MiB}));
}

// --- Sources and retries through the facade ---

TEST_P(GuestMemoryTest, ADeviceReadsWhatASlowSourceBrings) {
  const auto source = std::make_shared<StampSource>(uint8_t{9});
  world_.Plug(kBase, 2_MiB, source);
  std::byte byte{};
  for (uint64_t n = 0; n < 20; ++n) {
    ASSERT_EQ(memory_.Read(kBase + kPageSize * n, {&byte, 1}), AccessResult::kOk);
    ASSERT_EQ(byte, source->Stamp(n));
  }
}

TEST_P(GuestMemoryTest, ADeviceIsToldOfAFailedSourceAndServedAfterARetry) {
  const auto source = std::make_shared<StampSource>(uint8_t{9});
  source->error = EIO;
  world_.Plug(kBase, 2_MiB, source);
  std::byte byte{};
  EXPECT_EQ(memory_.Read(kBase, {&byte, 1}), AccessResult::kSourceError);
  EXPECT_EQ(memory_.Write(kBase, {&byte, 1}), AccessResult::kSourceError);
  EXPECT_EQ(memory_.fault_totals().source_errors, 1u);
  source->error = 0;
  memory_.RetryFailedFaults();
  EXPECT_EQ(memory_.Read(kBase, {&byte, 1}), AccessResult::kOk);
  EXPECT_EQ(byte, source->Stamp(0));
}

TEST_P(GuestMemoryTest, WhatFailedInAnUnpluggedRegionDoesNotHauntTheNext) {
  auto failing = std::make_shared<StampSource>(uint8_t{9});
  failing->error = EIO;
  const RegionId id = world_.Plug(kBase, 2_MiB, failing);
  std::byte byte{};
  EXPECT_EQ(memory_.Read(kBase, {&byte, 1}), AccessResult::kSourceError);
  memory_.Unplug(id);
  const auto good = std::make_shared<StampSource>(uint8_t{50});
  world_.Plug(kBase, 2_MiB, good);
  EXPECT_EQ(memory_.Read(kBase, {&byte, 1}), AccessResult::kOk);
  EXPECT_EQ(byte, good->Stamp(0));
}

TEST_P(GuestMemoryTest, TheMapOfARangeShowsHolesAndWhereItsPagesAre) {
  world_.Plug(kBase, 8_MiB);
  world_.Plug(kBase + 12_MiB, 5_MiB);
  std::byte byte{};
  for (const Bytes at : {Bytes(0), 6_MiB, 16_MiB}) {
    ASSERT_EQ(memory_.Read(kBase + at, std::span(&byte, 1)), AccessResult::kOk);
  }
  const ResidencyMap fine = memory_.Residency({kBase, 20_MiB}, 100);
  EXPECT_EQ(fine.cell, 2_MiB) << "not finer than a leaf table";
  EXPECT_EQ(fine.plugged,
            (std::vector<Bytes>{2_MiB, 2_MiB, 2_MiB, 2_MiB, Bytes(0), Bytes(0), 2_MiB, 2_MiB, 1_MiB, Bytes(0)}));
  std::vector<bool> populated;
  Bytes sum;
  for (const Bytes present : fine.present) {
    populated.push_back(present > Bytes(0));
    sum += present;
  }
  EXPECT_EQ(populated, (std::vector<bool>{true, false, false, true, false, false, false, false, true, false}));
  EXPECT_EQ(sum, memory_.present_bytes());
  const ResidencyMap coarse = memory_.Residency({kBase, 20_MiB}, 3);
  EXPECT_EQ(coarse.cell, 8_MiB);
  EXPECT_EQ(coarse.plugged, (std::vector<Bytes>{8_MiB, 4_MiB, 1_MiB}));
  const ResidencyMap one = memory_.Residency({kBase, 20_MiB}, 0);
  EXPECT_EQ(one.plugged, std::vector<Bytes>{13_MiB});
  EXPECT_EQ(one.present, std::vector<Bytes>{sum});
}

TEST(FaultAroundOptionTest, IsAutoOrAPowerOfTwoOfPagesUpToALeaf) {
  EXPECT_EQ(ParseFaultAround("auto").pages, FaultAround::kAuto);
  EXPECT_EQ(ParseFaultAround("4K").pages, 1u);
  EXPECT_EQ(ParseFaultAround("64K").pages, 16u);
  EXPECT_EQ(ParseFaultAround("64KiB").pages, 16u);
  EXPECT_EQ(ParseFaultAround("1M").pages, 256u);
  EXPECT_EQ(ParseFaultAround("2M").pages, 512u);
  for (const char* text : {"", "0", "3K", "1", "12K", "4M", "-4K", "64k4", "K", "banana", "99999999999999999999M"}) {
    EXPECT_THROW((void)ParseFaultAround(text), UsageError) << text;
  }
}

// --- Userfaults from many threads ---

TEST(UserfaultTest, ThreadsThatTouchPlainPointersAreServedInEveryPartOfAStripedRegion) {
  GuestMemoryOptions options = MemoryWorld::Options(FaultAround::kAuto);
  options.shards = 3;
  MemoryWorld world(options);
  world.Plug(kBase, 64_MiB);  // large enough to be spread over several readers
  std::byte* const base = ToPointer(world.slots.HostRangeAt(kBase).start);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      for (int i = 0; i < 300; ++i) {
        const uint64_t page = random() % (64_MiB / kPageSize);
        std::byte* p = base + page * kPageSize.value + t * 64;
        ASSERT_EQ(*p, std::byte{0});  // its own line of the page
        *p = static_cast<std::byte>(t + 1);
        ASSERT_EQ(*p, static_cast<std::byte>(t + 1));
        *p = std::byte{0};
      }
    });
  }
  for (std::thread& t : threads) t.join();
  const FaultTotals totals = world.memory.fault_totals();
  EXPECT_GE(totals.faults, 300u);
  while (world.memory.present_bytes() < kPageSize * totals.pages) std::this_thread::yield();
  LatencyHistogram latency;
  world.memory.MergeLatency(latency);
  EXPECT_GT(latency.count(), 0u);
}

TEST(UserfaultTest, ASequentialWriterTakesFarFewerFaultsThanPages) {
  MemoryWorld world(MemoryWorld::Options(FaultAround::kAuto));
  world.Plug(kBase, 32_MiB);
  std::byte* const base = ToPointer(world.slots.HostRangeAt(kBase).start);
  for (uint64_t page = 0; page < 32_MiB / kPageSize; ++page) base[page * kPageSize.value] = std::byte{1};
  EXPECT_LE(world.memory.fault_totals().faults, 32_MiB / kPageSize / 16);
  while (world.memory.present_bytes() < 32_MiB) std::this_thread::yield();  // the books follow the last wake
}

TEST(UserfaultTest, AFollowingAndASpinningReaderServeAsAFloatingOneDoes) {
  for (const auto placement : {ReaderPlacement::kFollow, ReaderPlacement::kFloat}) {
    for (const int spin_us : {0, 50}) {
      GuestMemoryOptions options = MemoryWorld::Options();
      options.placement = placement;
      options.reader_spin = std::chrono::microseconds(spin_us);
      MemoryWorld world(options);
      const RegionId id = world.Plug(kBase, 4_MiB);
      for (uint64_t n = 0; n < 200; ++n) ASSERT_EQ(world.ReadByte(kBase + kPageSize * n), 0);
      world.memory.Unplug(id);
    }
  }
}

TEST(UserfaultTest, UnplugReallyGivesThePagesBackBeforeItReturns) {
  MemoryWorld world(MemoryWorld::Options(FaultAround::kAuto));
  const RegionId id = world.Plug(kBase, 16_MiB);
  const HvaRange host = world.slots.HostRangeAt(kBase);
  for (uint64_t page = 0; page < 16_MiB / kPageSize; ++page) ToPointer(host.start)[page * 4096] = std::byte{1};
  EXPECT_EQ(ResidentPages(host), 16_MiB / kPageSize);
  // Looked at inside the unplug, while the mapping still stands.
  size_t after = 1;
  world.gate.set_action([&](ProtocolStep step) {
    if (step == ProtocolStep::kDiscarded) after = ResidentPages(host);
  });
  EXPECT_EQ(world.memory.Unplug(id).discarded, 16_MiB);
  EXPECT_EQ(after, 0u);
}

}  // namespace
}  // namespace faultline
