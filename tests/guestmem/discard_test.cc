// Pages given back while their region lives on: what comes back, what the books say, and what threads that use
// the memory meanwhile see.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "tests/guestmem/failing_host.h"
#include "tests/guestmem/memory_world.h"

namespace faultline {
namespace {

constexpr Gpa kBase{0x100000000};
constexpr uint8_t kMark = 0x5a;

Gpa Page(uint64_t n) { return kBase + kPageSize * n; }

// A fault wakes who waits before it enters its page in the books: looks until they say `expected`, for a while.
bool BooksSay(const GuestMemory& memory, const std::function<Bytes()>& expected) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (memory.present_bytes() != expected()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

class DiscardTest : public ::testing::Test {
 protected:
  // Leaves a mark in each page of [first, first + count).
  void Fill(uint64_t first, uint64_t count) {
    for (uint64_t n = first; n < first + count; ++n) {
      uint8_t mark = kMark;
      ASSERT_EQ(world_.slots.Write(Page(n), &mark, 1), SlotAccess::kOk);
    }
  }
  DiscardReport Discard(uint64_t first, uint64_t count) {
    return world_.memory.Discard({Page(first), kPageSize * count});
  }

  MemoryWorld world_;
};

TEST_F(DiscardTest, PagesComeBackAsZeroesAndTheirNeighboursAreUntouched) {
  world_.Plug(kBase, 8_MiB);
  Fill(0, 8);
  const DiscardReport report = Discard(2, 3);
  EXPECT_EQ(report.discarded, kPageSize * 3);
  EXPECT_EQ(report.calls, 1u);
  EXPECT_EQ(report.error, 0);
  EXPECT_EQ(world_.memory.present_bytes(), kPageSize * 5);
  for (uint64_t n = 0; n < 8; ++n) EXPECT_EQ(world_.ReadByte(Page(n)), n >= 2 && n < 5 ? 0 : kMark) << n;
  EXPECT_TRUE(BooksSay(world_.memory, [] { return kPageSize * 8; }));
}

TEST_F(DiscardTest, TheHostHasThePagesBackWhenItReturns) {
  for (const BackingKind kind : {BackingKind::kAnonymous, BackingKind::kMemfd}) {
    const RegionId id = world_.Plug(kBase, 16_MiB, nullptr, {kind, {}});
    const HvaRange host = world_.slots.HostRangeAt(kBase);
    Fill(0, 4096);
    ASSERT_EQ(ResidentPages(host), 4096u);
    const DiscardReport report = Discard(100, 3900);
    EXPECT_EQ(report.discarded, kPageSize * 3900);
    EXPECT_EQ(ResidentPages(host), 196u);
    EXPECT_EQ(world_.memory.present_bytes(), kPageSize * 196);
    // One call for each 2 MiB, at most.
    EXPECT_LE(report.calls, 8u);
    world_.memory.Unplug(id);
  }
}

TEST_F(DiscardTest, WhatWasNeverTouchedCostsNoCall) {
  world_.Plug(kBase, 64_MiB);
  Fill(700, 1);
  const DiscardReport report = Discard(0, 16384);
  EXPECT_EQ(report.calls, 1u);
  EXPECT_EQ(report.discarded, kPageSize);
}

TEST_F(DiscardTest, ARangeMayCoverHolesAndSeveralRegionsOrNothing) {
  world_.Plug(kBase, 4_MiB);
  world_.Plug(kBase + 8_MiB, 4_MiB);
  Fill(0, 1);
  Fill(2048, 1);
  EXPECT_EQ(world_.memory.Discard({Gpa(0), Bytes(uint64_t{1} << 40)}).discarded, kPageSize * 2);
  EXPECT_EQ(world_.memory.Discard({kBase + 4_MiB, 4_MiB}).discarded, Bytes(0));
  EXPECT_EQ(world_.memory.Discard({Gpa(~uint64_t{0xfff}), 8_KiB}).discarded, Bytes(0)) << "wraps around";
  EXPECT_EQ(world_.memory.Discard({kBase, Bytes(0)}).discarded, Bytes(0));
  Fill(0, 1);
  EXPECT_EQ(world_.memory.Discard({kBase + Bytes(1), kPageSize}).discarded, Bytes(0)) << "no page is covered whole";
  EXPECT_EQ(world_.ReadByte(Page(0)), kMark);
}

TEST_F(DiscardTest, APageBeingFilledIsLeftToItsFiller) {
  world_.Plug(kBase, 4_MiB, MakeDelaySource(std::chrono::milliseconds(20)));
  std::thread reader([&] { EXPECT_EQ(world_.ReadByte(Page(0)), 0); });
  while (world_.memory.fault_totals().pending == 0) std::this_thread::yield();
  Discard(0, 512);
  reader.join();
  EXPECT_EQ(world_.memory.present_bytes() % kPageSize, Bytes(0));
}

TEST(DiscardFailureTest, WhatTheHostRefusesStaysAsItWasAndIsSaid) {
  FailingHost host;
  MemoryWorld world(MemoryWorld::Options(), host);
  world.Plug(kBase, 4_MiB);
  uint8_t mark = kMark;
  ASSERT_EQ(world.slots.Write(kBase, &mark, 1), SlotAccess::kOk);
  host.Arm(
      1, ENOMEM,
      [](const HostCall& call) { return call.kind == HostCallKind::kMadvise && call.detail == MADV_DONTNEED; }, 100);
  const DiscardReport refused = world.memory.Discard({kBase, 4_MiB});
  EXPECT_EQ(refused.error, ENOMEM);
  EXPECT_EQ(refused.discarded, Bytes(0));
  EXPECT_EQ(world.memory.present_bytes(), kPageSize);
  EXPECT_EQ(world.ReadByte(kBase), kMark);
  host.Disarm();
  EXPECT_EQ(world.memory.Discard({kBase, 4_MiB}).discarded, kPageSize);
}

// Two threads own every second page each and verify it; a third gives the pages between them away as fast as it
// can, and the threads touch those as well.
TEST(DiscardStressTest, NoWriteBesideADiscardIsLostAndTheBooksAgreeAtTheEnd) {
  MemoryWorld world(MemoryWorld::Options(FaultAround::kAuto));
  constexpr uint64_t kPages = 1024;
  const RegionId id = world.Plug(kBase, kPageSize * kPages);
  std::atomic<unsigned> running{2};
  const auto own = [&](uint64_t odd) {
    for (uint64_t round = 1; round <= 6; ++round) {
      for (uint64_t n = 2 * odd; n < kPages; n += 4) {
        uint64_t found = 0;
        ASSERT_EQ(world.slots.Read(Page(n), &found, sizeof(found)), SlotAccess::kOk);
        ASSERT_EQ(found, round == 1 ? 0 : (round - 1) << 32 | n) << "a lost write";
        uint64_t stamp = round << 32 | n;
        ASSERT_EQ(world.slots.Write(Page(n), &stamp, sizeof(stamp)), SlotAccess::kOk);
        uint8_t shared = kMark;
        ASSERT_EQ(world.slots.Write(Page(n + 1), &shared, 1), SlotAccess::kOk);
        const uint8_t seen = world.ReadByte(Page(n + 1));
        ASSERT_TRUE(seen == kMark || seen == 0);
      }
    }
    running.fetch_sub(1);
  };
  std::thread first([&] { own(0); });
  std::thread second([&] { own(1); });
  uint64_t rounds = 0;
  do {
    for (uint64_t n = 1; n < kPages; n += 2) EXPECT_EQ(world.memory.Discard({Page(n), kPageSize}).error, 0);
    ++rounds;
  } while (running.load() > 0 && !::testing::Test::HasFatalFailure());
  first.join();
  second.join();
  EXPECT_GT(rounds, 0u);
  const HvaRange host = world.slots.HostRangeAt(kBase);
  EXPECT_TRUE(BooksSay(world.memory, [&] { return kPageSize * ResidentPages(host); }));  // I5
  world.memory.Unplug(id);
  EXPECT_EQ(world.memory.present_bytes(), Bytes(0));
}

}  // namespace
}  // namespace faultline
