// Every order of the protocol's steps, within a bound on preemptions, of the real fault, unplug and plug
// code. Each order is checked against the invariants at its end.

#include <gtest/gtest.h>

#include <atomic>
#include <memory>

#include "guestmem/error.h"
#include "guestmem/guest_memory.h"
#include "tests/guestmem/interleaving_explorer.h"
#include "tests/guestmem/protocol_world.h"

namespace faultline {
namespace {

constexpr Gpa kBase{0x100000000};
constexpr Gpa kElsewhere{0x200000000};
constexpr std::byte kOld{0xaa};
constexpr std::byte kNew{0x55};

// Guest memory without userfaults: devices fault on their own threads.
struct Plain {
  explicit Plain(ProtocolObserver& observer)
      : memory(Host::System(), listener, {.fault_around = {.pages = 1}, .userfault = false}, &observer) {}
  RegionId Plug(Gpa gpa, Bytes size = kLeafSpan) {
    RegionSpec spec;
    spec.name = "dimm";
    spec.gpa = {gpa, size};
    return memory.Plug(spec);
  }
  AccessResult Read(Gpa gpa, std::byte* out) { return memory.Read(gpa, {out, 1}); }
  AccessResult Write(Gpa gpa, std::byte value) { return memory.Write(gpa, {&value, 1}); }

  NullListener listener;
  GuestMemory memory;
};

// I5 and I6 at a quiet point.
void CheckBooks(GuestMemory& memory, uint64_t live, Bytes present) {
  EXPECT_EQ(memory.table_totals().live, live);
  EXPECT_EQ(memory.present_bytes(), present);
  memory.DrainForTest();
  const TableTotals t = memory.table_totals();
  EXPECT_EQ(t.limbo, 0u);
  EXPECT_EQ(t.allocated, t.live + t.freed);
}

class InterleavingTest : public ::testing::Test {
 protected:
  void Explore(const InterleavingExplorer::Limits& limits,
               const std::function<InterleavingExplorer::Run(InterleavingExplorer&)>& scenario) {
    result_ = explorer_.Explore(limits, [&] {
      InterleavingExplorer::Run run = scenario(explorer_);
      run.check = [this, check = std::move(run.check)] {
        check();
        if (HasFailure() && !told_) {
          told_ = true;
          ADD_FAILURE() << "in the order " << explorer_.order();
        }
      };
      return run;
    });
    EXPECT_GT(result_.runs, 10u);
    RecordProperty("orders", static_cast<int>(result_.runs));
    RecordProperty("complete", result_.complete ? 1 : 0);
    printf("%u orders of up to %u steps, %s\n", result_.runs, result_.longest,
           result_.complete ? "all within the bound" : "stopped at the limit");
  }

  InterleavingExplorer explorer_;
  InterleavingExplorer::Result result_;
  bool told_ = false;
};

TEST_F(InterleavingTest, AFaultWithoutATableAgainstAnUnplug) {
  Explore({.preemptions = 4, .runs = 1500}, [](InterleavingExplorer& explorer) {
    auto world = std::make_shared<Plain>(explorer);
    const RegionId id = world->Plug(kBase);
    auto gone = std::make_shared<std::atomic<bool>>(false);
    return InterleavingExplorer::Run{{[=] {
                                        const bool late = gone->load();
                                        std::byte byte{1};
                                        const AccessResult result = world->Read(kBase, &byte);
                                        EXPECT_TRUE(result == AccessResult::kOk || result == AccessResult::kNotMapped);
                                        if (late) {
                                          EXPECT_EQ(result, AccessResult::kNotMapped);  // I1
                                        }
                                        if (result == AccessResult::kOk) {
                                          EXPECT_EQ(byte, std::byte{0});
                                        }
                                      },
                                      [=] {
                                        world->memory.Unplug(id);
                                        gone->store(true);
                                      }},
                                     [=] { CheckBooks(world->memory, 0, Bytes(0)); }};
  });
}

TEST_F(InterleavingTest, AFaultInATableAgainstAnUnplugAndAReplugThatTakesItBack) {
  Explore({.preemptions = 3, .runs = 1500}, [](InterleavingExplorer& explorer) {
    auto world = std::make_shared<Plain>(explorer);
    const RegionId id = world->Plug(kBase);
    (void)world->Write(kBase, kOld);
    auto back = std::make_shared<std::atomic<bool>>(false);
    return InterleavingExplorer::Run{
        {[=] {
           for (const Gpa at : {kBase, kBase + kPageSize}) {
             const bool new_only = back->load();
             std::byte byte{1};
             const AccessResult result = world->Read(at, &byte);
             EXPECT_TRUE(result == AccessResult::kOk || (!new_only && result == AccessResult::kNotMapped));
             if (result != AccessResult::kOk) continue;
             EXPECT_TRUE(byte == std::byte{0} || (!new_only && at == kBase && byte == kOld));  // I2
           }
         },
         [=] {
           world->memory.Unplug(id);
           (void)world->Plug(kBase);
           back->store(true);
         }},
        [=] {
          std::byte byte{1};
          EXPECT_EQ(world->Read(kBase, &byte), AccessResult::kOk);
          EXPECT_EQ(byte, std::byte{0});
          world->memory.Unplug(*world->memory.FindRegion(kBase));
          EXPECT_EQ(world->memory.table_totals().recycled, 1u);
          CheckBooks(world->memory, 0, Bytes(0));
        }};
  });
}

TEST_F(InterleavingTest, AWriteAgainstAnUnplugAndAReplugIsInTheNewRegionOrNowhere) {
  Explore({.preemptions = 3, .runs = 1500}, [](InterleavingExplorer& explorer) {
    auto world = std::make_shared<Plain>(explorer);
    const RegionId id = world->Plug(kBase);
    auto back = std::make_shared<std::atomic<bool>>(false);
    auto must_be_there = std::make_shared<std::atomic<bool>>(false);
    return InterleavingExplorer::Run{{[=] {
                                        const bool late = back->load();
                                        const AccessResult result = world->Write(kBase + kPageSize * 7, kNew);
                                        must_be_there->store(late && result == AccessResult::kOk);
                                        if (late) {
                                          EXPECT_EQ(result, AccessResult::kOk);
                                        }
                                      },
                                      [=] {
                                        world->memory.Unplug(id);
                                        (void)world->Plug(kBase);
                                        back->store(true);
                                      }},
                                     [=] {
                                       std::byte byte{1};
                                       EXPECT_EQ(world->Read(kBase + kPageSize * 7, &byte), AccessResult::kOk);
                                       EXPECT_TRUE(byte == kNew || byte == std::byte{0});
                                       if (must_be_there->load()) {
                                         EXPECT_EQ(byte, kNew);  // I3
                                       }
                                       world->memory.Unplug(*world->memory.FindRegion(kBase));
                                       CheckBooks(world->memory, 0, Bytes(0));
                                     }};
  });
}

TEST_F(InterleavingTest, TwoFaultsThatBringOneTableAgainstAnUnplug) {
  Explore({.preemptions = 2, .runs = 1500}, [](InterleavingExplorer& explorer) {
    auto world = std::make_shared<Plain>(explorer);
    const RegionId id = world->Plug(kBase);
    const auto fault = [=](uint64_t page) {
      return [=] {
        std::byte byte{1};
        const AccessResult result = world->Read(kBase + kPageSize * page, &byte);
        EXPECT_TRUE(result == AccessResult::kOk || result == AccessResult::kNotMapped);
        if (result == AccessResult::kOk) {
          EXPECT_EQ(byte, std::byte{0});
        }
      };
    };
    return InterleavingExplorer::Run{{fault(0), fault(0), [=] { world->memory.Unplug(id); }},
                                     [=] { CheckBooks(world->memory, 0, Bytes(0)); }};
  });
}

TEST_F(InterleavingTest, ABystanderIsNeverBlockedByAnUnplugAndAPlug) {
  Explore({.preemptions = 3, .runs = 1500, .never_waits = 0}, [](InterleavingExplorer& explorer) {
    auto world = std::make_shared<Plain>(explorer);
    const RegionId id = world->Plug(kBase);
    (void)world->Plug(kElsewhere);
    (void)world->Write(kBase, kOld);
    return InterleavingExplorer::Run{{[=] {
                                        std::byte byte{1};
                                        EXPECT_EQ(world->Read(kElsewhere, &byte), AccessResult::kOk);
                                        EXPECT_EQ(byte, std::byte{0});
                                      },
                                      [=] {
                                        world->memory.Unplug(id);
                                        (void)world->Plug(kBase);
                                      }},
                                     [=] {
                                       world->memory.Unplug(*world->memory.FindRegion(kBase));
                                       world->memory.Unplug(*world->memory.FindRegion(kElsewhere));
                                       CheckBooks(world->memory, 0, Bytes(0));
                                     }};
  });
  EXPECT_FALSE(result_.ever_blocked[0]);
}

TEST_F(InterleavingTest, ADiscardAgainstWritesLosesNoneOfItsNeighbours) {
  Explore({.preemptions = 3, .runs = 1500}, [](InterleavingExplorer& explorer) {
    auto world = std::make_shared<Plain>(explorer);
    (void)world->Plug(kBase);
    (void)world->Write(kBase, kOld);
    auto discarded = std::make_shared<std::atomic<bool>>(false);
    auto must_be_there = std::make_shared<std::atomic<bool>>(false);
    return InterleavingExplorer::Run{{[=] {
                                        const bool after = discarded->load();
                                        EXPECT_EQ(world->Write(kBase, kNew), AccessResult::kOk);
                                        must_be_there->store(after);
                                        EXPECT_EQ(world->Write(kBase + kPageSize, kNew), AccessResult::kOk);
                                      },
                                      [=] {
                                        EXPECT_EQ(world->memory.Discard({kBase, kPageSize}).error, 0);
                                        discarded->store(true);
                                      }},
                                     [=] {
                                       const Bytes present = world->memory.present_bytes();
                                       std::byte given{1};
                                       std::byte kept{1};
                                       EXPECT_EQ(world->Read(kBase + kPageSize, &kept), AccessResult::kOk);
                                       EXPECT_EQ(kept, kNew);  // I3
                                       EXPECT_EQ(world->Read(kBase, &given), AccessResult::kOk);
                                       EXPECT_TRUE(given == kNew || (!must_be_there->load() && given == std::byte{0}));
                                       // Zero is what a page has that came anew just now.
                                       EXPECT_EQ(present, kPageSize * (given == kNew ? 2 : 1));  // I5
                                       CheckBooks(world->memory, 1, kPageSize * 2);
                                     }};
  });
}

TEST_F(InterleavingTest, ADiscardAgainstAnUnplugAndAReplugTakesNothingOfTheNewRegion) {
  Explore({.preemptions = 3, .runs = 1500}, [](InterleavingExplorer& explorer) {
    auto world = std::make_shared<Plain>(explorer);
    const RegionId id = world->Plug(kBase);
    (void)world->Write(kBase, kOld);
    auto started_late = std::make_shared<std::atomic<bool>>(false);
    auto back = std::make_shared<std::atomic<bool>>(false);
    return InterleavingExplorer::Run{{[=] {
                                        started_late->store(back->load());
                                        (void)world->memory.Discard({kBase, kLeafSpan});
                                      },
                                      [=] {
                                        world->memory.Unplug(id);
                                        (void)world->Plug(kBase);
                                        back->store(true);
                                      }},
                                     [=] {
                                       std::byte byte{1};
                                       EXPECT_EQ(world->Read(kBase, &byte), AccessResult::kOk);
                                       EXPECT_EQ(byte, std::byte{0});  // I2
                                       CheckBooks(world->memory, 1, kPageSize);
                                     }};
  });
}

TEST_F(InterleavingTest, ARolledBackUnplugAgainstAWrite) {
  class Refuses final : public RegionListener {
   public:
    void OnPlug(const RegionView& /*region*/) override {}
    void OnRevoke(const RegionView& /*region*/) noexcept override {}
    void OnUnmap(const RegionView& /*region*/) override {
      if (refuse) throw Error("busy");
    }
    void OnRestore(RegionId /*old_id*/, const RegionView& /*region*/) noexcept override {}
    bool refuse = true;
  };
  struct World {
    explicit World(ProtocolObserver& observer)
        : memory(Host::System(), listener, {.fault_around = {.pages = 1}, .userfault = false}, &observer) {}
    Refuses listener;
    GuestMemory memory;
  };
  Explore({.preemptions = 3, .runs = 1500}, [](InterleavingExplorer& explorer) {
    auto world = std::make_shared<World>(explorer);
    RegionSpec spec;
    spec.name = "dimm";
    spec.gpa = {kBase, kLeafSpan};
    const RegionId id = world->memory.Plug(spec);
    (void)world->memory.Write(kBase, {&kOld, 1});
    auto written = std::make_shared<std::atomic<bool>>(false);
    return InterleavingExplorer::Run{
        {[=] {
           written->store(world->memory.Write(kBase + kPageSize, {&kNew, 1}) == AccessResult::kOk);
         },
         [=] { EXPECT_THROW(world->memory.Unplug(id), Error); }},
        [=] {
          std::byte byte{};
          EXPECT_EQ(world->memory.Read(kBase, {&byte, 1}), AccessResult::kOk);
          EXPECT_EQ(byte, kOld);
          EXPECT_EQ(world->memory.Read(kBase + kPageSize, {&byte, 1}), AccessResult::kOk);
          EXPECT_EQ(byte, written->load() ? kNew : std::byte{0});  // I3, I8
          world->listener.refuse = false;
          world->memory.Unplug(*world->memory.FindRegion(kBase));
          CheckBooks(world->memory, 0, Bytes(0));
        }};
  });
}

// The slow source is read by the faulting thread itself here, so that its return is a step like any other.
TEST_F(InterleavingTest, ASlowFillAgainstAnUnplugAndAReplugWithASlowFillOfItsOwn) {
  Explore({.preemptions = 2, .runs = 1500}, [](InterleavingExplorer& explorer) {
    auto world = std::make_shared<ProtocolWorld>(FaultAround{.pages = 1}, &explorer);
    Region* const first = &world->Plug({kBase, kLeafSpan}, std::make_shared<StampSource>(uint8_t{0xaa}));
    auto second = std::make_shared<std::atomic<Region*>>(nullptr);
    const auto fault = [=] {
      FaultStats stats;
      if (world->handler.Handle(kBase, false, 0, stats) != FaultOutcome::kPending) return;
      if (world->fills.claims.empty()) return;
      const FillClaim claim = world->fills.claims.back();
      world->fills.claims.pop_back();
      std::vector<std::byte> data((kPageSize * claim.pages).value);
      EXPECT_EQ(claim.source->Read(claim.offset, data), 0);
      world->handler.CompleteFill(claim, data.data(), 0, stats);
    };
    return InterleavingExplorer::Run{
        {fault, fault,
         [=] {
           world->Unplug(*first);
           std::unique_ptr<Region> next =
               world->MakeRegion({kBase, kLeafSpan}, std::make_shared<StampSource>(uint8_t{0x55}));
           if (std::unique_ptr<LeafTable> table = world->limbo.TakeBack(kBase)) {
             (void)next->shadow().Link(0, std::move(table), *next);
           }
           second->store(&world->Plug(std::move(next)));
         }},
        [=] {
          const Region& region = *second->load();
          const FakeInstaller& installer = ProtocolWorld::InstallerOf(region);
          if (!installer.there.empty()) {
            EXPECT_EQ(*ToPointer(region.hva().start), std::byte{0x55});  // I2
          }
          EXPECT_LE(installer.copies, 1u);
          world->domain.Barrier();
          EXPECT_EQ(world->counters.allocated,
                    world->counters.live + world->limbo.size() + world->counters.freed);  // I6
        }};
  });
}

}  // namespace
}  // namespace faultline
