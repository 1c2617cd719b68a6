// Threads that fault, unplug and re-plug at full speed, for the thread and address sanitizers; what they
// see is checked against I1 to I3, I5 and I6. Bounded by operations, not by time.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "guestmem/error.h"
#include "tests/guestmem/memory_world.h"

namespace faultline {
namespace {

constexpr Gpa kBase{0x100000000};
constexpr size_t kSlots = 4;
constexpr Bytes kRegionSize = 4_MiB;
constexpr uint64_t kPages = 1024;

Gpa SlotBase(size_t slot) { return kBase + kRegionSize * slot; }

struct Load {
  unsigned vcpus = 3;
  unsigned devices = 1;
  unsigned cycles = 60;  // unplug and re-plug, over all slots
  unsigned fault_around = FaultAround::kAuto;
  const char* source = "zero";
  bool refuse_some = false;  // every fifth slot deletion is refused and rolled back
  size_t limbo_tables = 8192;
};

// The stamp of a page holds where it is and which incarnation of its slot wrote it.
uint64_t Stamp(size_t slot, uint64_t page, uint64_t incarnation) { return (incarnation << 32) | (slot << 16) | page; }

void RunLoad(const Load& load) {
  GuestMemoryOptions options = MemoryWorld::Options(load.fault_around);
  options.limbo_tables = load.limbo_tables;
  MemoryWorld world(options);
  std::array<std::atomic<uint64_t>, kSlots> incarnation{};  // of what is plugged there, or was last
  std::array<RegionId, kSlots> ids;
  const auto plug = [&](size_t slot) {
    incarnation[slot].fetch_add(1);
    ids[slot] = world.Plug(SlotBase(slot), kRegionSize, ParsePageSource(Host::System(), load.source));
  };
  for (size_t slot = 0; slot < kSlots; ++slot) plug(slot);

  std::atomic<bool> stop{false};
  std::atomic<uint64_t> accesses{0};
  // One word of each page belongs to each thread, so nobody else explains what it finds there.
  const auto judge = [&](size_t slot, uint64_t page, uint64_t before, uint64_t after, uint64_t found) {
    if (found == 0) return;
    const uint64_t writer = found >> 32;
    EXPECT_EQ(found, Stamp(slot, page, writer));
    EXPECT_GE(writer, before) << "a byte of an earlier incarnation";  // I2
    EXPECT_LE(writer, after);
  };
  std::vector<std::thread> threads;
  for (unsigned v = 0; v < load.vcpus; ++v) {
    threads.emplace_back([&, v] {
      std::mt19937_64 random(v);
      uint64_t sequential = 0;
      while (!stop.load(std::memory_order_relaxed)) {
        const size_t slot = random() % kSlots;
        const uint64_t page = v == 0 ? sequential++ % kPages : random() % kPages;
        const Gpa at = SlotBase(slot) + kPageSize * page + Bytes(8 * v);
        const uint64_t before = incarnation[slot].load();
        uint64_t found = 0;
        const SlotAccess read = world.slots.Read(at, &found, sizeof(found));
        ASSERT_NE(read, SlotAccess::kFault);
        if (read == SlotAccess::kOk) judge(slot, page, before, incarnation[slot].load(), found);
        // Stamped for the incarnation of now; again if another one came between, for the stamp may be in it.
        uint64_t mine = 0;
        SlotAccess write = SlotAccess::kOk;
        do {
          mine = Stamp(slot, page, incarnation[slot].load());
          write = world.slots.Write(at, &mine, sizeof(mine));
        } while (write == SlotAccess::kOk && incarnation[slot].load() != mine >> 32);
        ASSERT_NE(write, SlotAccess::kFault);
        if (write != SlotAccess::kOk) continue;
        if (world.slots.Read(at, &found, sizeof(found)) != SlotAccess::kOk) continue;
        if (incarnation[slot].load() == mine >> 32) {
          EXPECT_EQ(found, mine) << "a lost write";  // I3
        }
        accesses.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  for (unsigned d = 0; d < load.devices; ++d) {
    threads.emplace_back([&, d] {
      std::mt19937_64 random(100 + d);
      while (!stop.load(std::memory_order_relaxed)) {
        const size_t slot = random() % kSlots;
        std::array<std::byte, 64> buffer{};
        const Gpa at = SlotBase(slot) + kPageSize * (random() % kPages) + Bytes(2048);
        const AccessResult result = random() % 2 == 0 ? world.memory.Read(at, buffer) : world.memory.Write(at, buffer);
        ASSERT_TRUE(result == AccessResult::kOk || result == AccessResult::kNotMapped) << static_cast<int>(result);
        AccessResult why = AccessResult::kOk;
        if (const Pin pin = world.memory.PinRange({at, Bytes(64)}, true, "stress", &why)) {
          pin.bytes()[0] = std::byte{1};  // the mapping must hold while the pin does
        }
      }
    });
  }

  std::mt19937_64 random(7);
  unsigned deletions = 0;
  if (load.refuse_some) {
    world.slots.on_unmap = [&](const RegionView&) {
      if (++deletions % 5 == 0) throw Error("refused for the test");
    };
  }
  for (unsigned cycle = 0; cycle < load.cycles; ++cycle) {
    const size_t slot = random() % kSlots;
    for (bool unplugged = false; !unplugged;) {
      try {
        world.memory.Unplug(ids[slot], {.pin_deadline = std::chrono::seconds(60)});
        unplugged = true;
      } catch (const UsageError&) {
        throw;
      } catch (const Error&) {
        ids[slot] = world.slots.restored();
      }
    }
    ASSERT_FALSE(world.slots.stuck());  // I7
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 3));
    plug(slot);
    // Some life for the incarnation: at least a few accesses.
    const uint64_t seen = accesses.load();
    while (accesses.load() < seen + 5) std::this_thread::yield();
  }
  stop = true;
  for (std::thread& t : threads) t.join();
  world.slots.on_unmap = nullptr;

  // I5 and I6 at the quiet point.
  for (const RegionId id : ids) world.memory.Unplug(id);
  EXPECT_FALSE(world.slots.stuck());
  EXPECT_EQ(world.memory.present_bytes(), Bytes(0));
  world.memory.DrainForTest();
  const TableTotals t = world.memory.table_totals();
  EXPECT_EQ(t.live, 0u);
  EXPECT_EQ(t.allocated, t.freed);
}

TEST(StressTest, FaultsUnplugsAndReplugsKeepTheInvariants) { RunLoad({}); }
TEST(StressTest, SoDoTheyPageByPage) { RunLoad({.fault_around = 1}); }
TEST(StressTest, SoDoTheyWithASlowSource) { RunLoad({.cycles = 30, .fault_around = 16, .source = "delay:2ms"}); }
TEST(StressTest, SoDoTheyWhenUnplugsAreRefusedAndRolledBack) { RunLoad({.cycles = 40, .refuse_some = true}); }
TEST(StressTest, SoDoTheyWithoutALimbo) { RunLoad({.cycles = 40, .limbo_tables = 0}); }

TEST(StressTest, AllVcpusInOneLeafWhileItsRegionComesAndGoes) {
  MemoryWorld world(MemoryWorld::Options(/*fault_around=*/1));
  RegionId id = world.Plug(kBase, kLeafSpan);
  std::atomic<bool> stop{false};
  std::vector<std::thread> vcpus;
  for (unsigned v = 0; v < 4; ++v) {
    vcpus.emplace_back([&, v] {
      std::mt19937_64 random(v);
      while (!stop.load(std::memory_order_relaxed)) {
        uint64_t word = 0;
        ASSERT_NE(world.slots.Read(kBase + kPageSize * (random() % 512), &word, sizeof(word)), SlotAccess::kFault);
        ASSERT_EQ(word, 0u);
      }
    });
  }
  for (int cycle = 0; cycle < 60; ++cycle) {
    world.memory.Unplug(id);
    id = world.Plug(kBase, kLeafSpan);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  stop = true;
  for (std::thread& t : vcpus) t.join();
  EXPECT_FALSE(world.slots.stuck());
  EXPECT_LE(world.memory.table_totals().allocated, 8u);  // the same table over and over
}

TEST(StressTest, ConcurrentPlugsAndUnplugsOfManyRegionsLeaveTheBooksInOrder) {
  NullListener listener;
  GuestMemoryOptions options;
  options.userfault = false;
  GuestMemory memory(Host::System(), listener, options);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      for (int i = 0; i < 60; ++i) {
        RegionSpec spec;
        spec.name = "dimm";
        spec.gpa = {SlotBase(t * 8 + random() % 8), kRegionSize};
        const RegionId id = memory.Plug(spec);
        uint64_t word = t + 1;
        EXPECT_EQ(memory.Write(spec.gpa.start, std::as_bytes(std::span(&word, 1))), AccessResult::kOk);
        EXPECT_EQ(memory.Read(spec.gpa.start, std::as_writable_bytes(std::span(&word, 1))), AccessResult::kOk);
        EXPECT_EQ(word, t + 1);
        memory.Unplug(id);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  memory.DrainForTest();
  const TableTotals totals = memory.table_totals();
  EXPECT_EQ(totals.live, 0u);
  EXPECT_EQ(totals.allocated, totals.freed);
}

}  // namespace
}  // namespace faultline
