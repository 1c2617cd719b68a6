// The parts of the fault protocol put together with fakes around them: everything a FaultHandler touches,
// without userfaults, listeners or background fills.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "guestmem/fault_handler.h"
#include "guestmem/region.h"
#include "tests/guestmem/fakes.h"

namespace faultline {

class ProtocolWorld {
 public:
  explicit ProtocolWorld(FaultAround fault_around = {.pages = 1}, ProtocolObserver* observer = nullptr,
                         size_t limbo_cap = 1024)
      : limbo(domain, counters, limbo_cap),
        regions(domain),
        handler({domain, regions, limbo, fills, failures, fault_around, observer}) {}

  // A Live region at `gpa`, not published yet.
  std::unique_ptr<Region> MakeRegion(GpaRange gpa, std::shared_ptr<PageSource> source = MakeZeroSource(),
                                     Bytes granule = kPageSize) {
    Region::Memory memory;
    memory.name = "region" + std::to_string(next_id_);
    memory.gpa = gpa;
    memory.backing = std::make_shared<FakeBacking>(gpa.size, granule);
    memory.installer = std::make_shared<FakeInstaller>();
    memory.source = std::move(source);
    memory.shadow = std::make_shared<ShadowTable>(gpa, counters);
    memory.pins = std::make_shared<PinGate>();
    return std::make_unique<Region>(RegionId{next_id_++}, std::move(memory));
  }
  Region& Plug(std::unique_ptr<Region> region) {
    Region* r = region.release();
    regions.Commit(regions.PrepareInsert(r->gpa(), r));
    return *r;
  }
  Region& Plug(GpaRange gpa, std::shared_ptr<PageSource> source = MakeZeroSource()) {
    return Plug(MakeRegion(gpa, std::move(source)));
  }
  static FakeInstaller& InstallerOf(const Region& region) { return static_cast<FakeInstaller&>(region.installer()); }

  // Unplug by the book, without the slots: dead mark, unpublish, scan into limbo, retire.
  void Unplug(Region& region) {
    region.AdvanceLife(RegionLife::kDying);
    regions.Commit(regions.PrepareErase(&region));
    for (size_t i = 0; i < region.shadow().leaf_count(); ++i) {
      std::unique_ptr<LeafTable> leaf = region.shadow().Detach(i);
      if (leaf == nullptr) continue;
      {
        MutexLock<LeafMutex> lock(leaf->lock());
        leaf->RetireServiceLocked();
      }
      limbo.Put(std::move(leaf));
    }
    region.AdvanceLife(RegionLife::kDead);
    domain.Retire(std::unique_ptr<RcuObject>(&region));
  }

  ~ProtocolWorld() {
    while (regions.size() != 0) Unplug(*regions.entries().front().value);
    limbo.Clear();
  }

  RcuDomain domain;
  TableCounters counters;
  TableLimbo limbo;
  RegionMap regions;
  HeldFills fills;
  CollectedFailures failures;
  FaultStats stats;
  FaultHandler handler;

 private:
  uint64_t next_id_ = 1;
};

}  // namespace faultline
