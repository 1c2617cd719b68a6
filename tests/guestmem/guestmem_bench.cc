// What the units of guest memory cost, without system calls where the name does not say otherwise.

#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "guestmem/guest_memory.h"
#include "guestmem/latency_histogram.h"
#include "guestmem/region_list.h"
#include "tests/guestmem/protocol_world.h"

namespace faultline {
namespace {

constexpr Gpa kBase{0x100000000};

// Looks random addresses up in a map of `range(0)` regions, with and without the read section.
template <bool kWithReadSection>
void RegionLookup(benchmark::State& state) {
  struct Thing {};
  const auto n = static_cast<size_t>(state.range(0));
  RcuDomain domain;
  RegionList<Gpa, Thing> list(domain);
  std::vector<Thing> things(n);
  // Committed one by one only as often as it takes: each insert copies the list.
  for (size_t i = 0; i < n; ++i) list.Commit(list.PrepareInsert({kBase + 4_MiB * i, 2_MiB}, &things[i]));
  std::vector<Gpa> addresses(4096);
  std::mt19937_64 random(1);
  for (Gpa& a : addresses) a = kBase + 4_MiB * (random() % n) + Bytes(random() % (2_MiB).value);
  size_t i = 0;
  if constexpr (kWithReadSection) {
    for (auto _ : state) {
      const RcuDomain::ReadGuard guard(domain);
      benchmark::DoNotOptimize(list.Lookup(addresses[i++ % addresses.size()]));
    }
  } else {
    const RcuDomain::ReadGuard guard(domain);
    for (auto _ : state) benchmark::DoNotOptimize(list.Lookup(addresses[i++ % addresses.size()]));
  }
}
BENCHMARK(RegionLookup<false>)->Name("RegionLookup")->Arg(1)->Arg(100)->Arg(10'000);
BENCHMARK(RegionLookup<true>)->Name("RegionLookupWithReadSection")->Arg(1)->Arg(100)->Arg(10'000);

class NoInstaller final : public PageInstaller {
 public:
  Installed Copy(Hva /*to*/, const std::byte* /*from*/, Bytes size) noexcept override {
    return {InstallResult::kInstalled, size};
  }
  void Wake(HvaRange /*range*/) noexcept override {}
  int Revoke(HvaRange /*range*/) noexcept override { return 0; }
  int Restore(HvaRange /*range*/) noexcept override { return 0; }
};

Region& PlugWithoutInstaller(ProtocolWorld& world, GpaRange gpa) {
  Region::Memory memory;
  memory.name = "bench";
  memory.gpa = gpa;
  memory.backing = std::make_shared<FakeBacking>(gpa.size);
  memory.installer = std::make_shared<NoInstaller>();
  memory.source = MakeZeroSource();
  memory.shadow = std::make_shared<ShadowTable>(gpa, world.counters);
  memory.pins = std::make_shared<PinGate>();
  return world.Plug(std::make_unique<Region>(RegionId{99}, std::move(memory)));
}

// One fault from the look-up to Present, nobody else about, the page absent and its table there.
void FaultDecision(benchmark::State& state) {
  ProtocolWorld world({.pages = 1});
  constexpr uint64_t kPages = 64 * kPagesPerLeaf;
  Region* region = &PlugWithoutInstaller(world, {kBase, kPageSize * kPages});
  uint64_t n = 0;
  for (auto _ : state) {
    if (n == kPages) {
      state.PauseTiming();
      for (size_t i = 0; i < region->shadow().leaf_count(); ++i) {
        LeafTable* leaf = region->shadow().Find(i);
        MutexLock<LeafMutex> lock(leaf->lock());
        leaf->RetireServiceLocked();
        leaf->AdoptLocked(region, leaf->base());
      }
      n = 0;
      state.ResumeTiming();
    }
    benchmark::DoNotOptimize(world.handler.Handle(kBase + kPageSize * n++, true, 0, world.stats));
  }
}
BENCHMARK(FaultDecision)->Iterations(2'000'000);

// The same for a page that is there already: a fault that lost a race.
void SpuriousFaultDecision(benchmark::State& state) {
  ProtocolWorld world({.pages = 1});
  PlugWithoutInstaller(world, {kBase, kLeafSpan});
  (void)world.handler.Handle(kBase, true, 0, world.stats);
  for (auto _ : state) benchmark::DoNotOptimize(world.handler.Handle(kBase, true, 0, world.stats));
}
BENCHMARK(SpuriousFaultDecision);

void HistogramRecord(benchmark::State& state) {
  LatencyHistogram histogram;
  uint64_t v = 1;
  for (auto _ : state) {
    histogram.Record(v);
    v = v * 2862933555777941757U + 3037000493U;
    v >>= 30;
  }
}
BENCHMARK(HistogramRecord);

struct Memory {
  explicit Memory(size_t limbo_tables = 8192) : memory(Host::System(), listener, Options(limbo_tables)) {}
  static GuestMemoryOptions Options(size_t limbo_tables) {
    GuestMemoryOptions options;
    options.limbo_tables = limbo_tables;
    options.userfault = false;
    return options;
  }
  RegionId Plug(Bytes size) {
    RegionSpec spec;
    spec.name = "bench";
    spec.gpa = {kBase, size};
    return memory.Plug(spec);
  }
  NullListener listener;
  GuestMemory memory;
};

// A device's copy of `range(0)` bytes within present memory.
template <bool kWrite>
void DeviceCopy(benchmark::State& state) {
  Memory world;
  world.Plug(4_MiB);
  std::vector<std::byte> buffer(static_cast<size_t>(state.range(0)));
  (void)world.memory.Write(kBase, buffer);
  for (auto _ : state) {
    if constexpr (kWrite) {
      benchmark::DoNotOptimize(world.memory.Write(kBase, buffer));
    } else {
      benchmark::DoNotOptimize(world.memory.Read(kBase, buffer));
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(DeviceCopy<false>)->Name("GuestMemoryRead")->Arg(16)->Arg(4096)->Arg(65536);
BENCHMARK(DeviceCopy<true>)->Name("GuestMemoryWrite")->Arg(16)->Arg(4096)->Arg(65536);

// Unplug and re-plug of 64 MiB with one page touched in each of its 32 tables, mmap and madvise included:
// with limbo the tables come back, without it each is freed by grace period and allocated anew.
void UnplugReplug(benchmark::State& state) {
  const bool recycling = state.range(0) != 0;
  Memory world(recycling ? 8192 : 0);
  RegionId id = world.Plug(64_MiB);
  const auto touch = [&] {
    std::byte byte{};
    for (uint64_t leaf = 0; leaf < 32; ++leaf) (void)world.memory.Write(kBase + kLeafSpan * leaf, {&byte, 1});
  };
  touch();
  for (auto _ : state) {
    world.memory.Unplug(id);
    id = world.Plug(64_MiB);
    touch();
  }
  const TableTotals t = world.memory.table_totals();
  state.counters["allocated"] = static_cast<double>(t.allocated);
  state.counters["recycled"] = static_cast<double>(t.recycled);
}
BENCHMARK(UnplugReplug)->ArgName("recycling")->Arg(0)->Arg(1)->Unit(benchmark::kMicrosecond);

// The tables alone, without mmap and without pages: 32 tables from a dead region to a new one.
void TablesOfAReplug(benchmark::State& state) {
  const bool recycling = state.range(0) != 0;
  ProtocolWorld world({.pages = 1}, nullptr, recycling ? 8192 : 0);
  constexpr GpaRange kRange{kBase, kLeafSpan * 32};
  Region* region = &PlugWithoutInstaller(world, kRange);
  const auto touch = [&] {
    for (uint64_t leaf = 0; leaf < 32; ++leaf) {
      (void)world.handler.Handle(kBase + kLeafSpan * leaf, true, 0, world.stats);
    }
  };
  touch();
  for (auto _ : state) {
    world.Unplug(*region);
    region = &PlugWithoutInstaller(world, kRange);
    if (recycling) {
      for (size_t i = 0; i < 32; ++i) {
        if (auto table = world.limbo.TakeBack(region->shadow().BaseOf(i))) {
          (void)region->shadow().Link(i, std::move(table), *region);
        }
      }
    }
    touch();
  }
}
BENCHMARK(TablesOfAReplug)->ArgName("recycling")->Arg(0)->Arg(1)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace faultline

BENCHMARK_MAIN();
