// PCI functions that come and go while the guest runs.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stop_token>
#include <thread>
#include <vector>

#include "devices/pci/pci_bus.h"
#include "devices/pci/pci_hotplug.h"
#include "guestmem/error.h"
#include "tests/devices/register_access.h"
#include "tests/devices/virtio/virtio_world.h"

namespace faultline {
namespace {

constexpr PciPlace kPlace{.slot = 5};

// Knows whether it is there, and is slow to answer.
class Card final : public PciFunction {
 public:
  Card(MsiHost& msi, std::atomic<int>& alive, Bytes size = 16_KiB)
      : PciFunction({.vendor = 0x1af4, .device = 0x1042, .class_code = 0x018000}), alive_(alive), msix_(msi, 2) {
    ++alive_;
    AddBar(size, registers_);
    AddMsix(msix_, 0x2000);
  }
  ~Card() override {
    Disconnect();
    registers_.gone = true;
    --alive_;
  }
  using PciFunction::SetIntx;

  // Reads of the BAR wait while it is set.
  static inline std::atomic<bool> hold{false};
  static inline std::atomic<bool> entered{false};

 private:
  class Registers final : public BusDevice {
   public:
    void Read(Bytes /*offset*/, std::span<std::byte> out) override {
      entered = true;
      do std::this_thread::yield();
      while (hold);
      StoreLittleEndian(gone ? 0xdead : 0x5a, out);
    }
    void Write(Bytes /*offset*/, std::span<const std::byte> /*data*/) override { std::this_thread::yield(); }
    bool gone = false;
  };
  std::atomic<int>& alive_;
  Registers registers_;
  Msix msix_;
};

class ComeAndGo : public testing::Test {
 protected:
  ComeAndGo() = default;
  Card* Add(std::optional<PciPlace> place = kPlace) {
    auto card = std::make_unique<Card>(world.msi, alive);
    Card* const made = card.get();
    world.pci.Add(std::move(card), place);
    return made;
  }
  uint64_t Read(PciPlace place, unsigned reg, size_t width) {
    return ReadRegister(world.pci.ecam(), place.bus << 20 | place.slot << 15 | place.function << 12 | reg, width);
  }
  void Write(PciPlace place, unsigned reg, size_t width, uint64_t value) {
    WriteRegister(world.pci.ecam(), place.bus << 20 | place.slot << 15 | place.function << 12 | reg, width, value);
  }
  uint64_t Bar(PciPlace place) { return Read(place, pci::kBar0, 4) & ~uint64_t{0xf}; }
  bool Answers(uint64_t address) {
    std::array<std::byte, 4> bytes = {};
    return world.mmio.Read(address, bytes);
  }

  std::atomic<int> alive{0};
  VirtioWorld world;
};

TEST_F(ComeAndGo, WhatIsRemovedIsGoneFromBothSpacesAndDestroyed) {
  Add();
  Write(kPlace, pci::kCommand, 2, pci::kCommandMemory);
  const uint64_t bar = Bar(kPlace);
  EXPECT_TRUE(Answers(bar));
  EXPECT_TRUE(world.pci.Occupied(kPlace));
  world.pci.Remove(kPlace);
  EXPECT_EQ(alive, 0);
  EXPECT_FALSE(world.pci.Occupied(kPlace));
  EXPECT_EQ(Read(kPlace, 0, 4), 0xffffffffU);
  EXPECT_FALSE(Answers(bar));
  Add();
  EXPECT_EQ(Read(kPlace, 0, 4), 0x10421af4U);
  EXPECT_EQ(Read(kPlace, pci::kCommand, 2), 0U) << "a new one, as from power-on";
}

TEST_F(ComeAndGo, ItsInterruptPinIsLeftAsThePinsNextUserExpectsIt) {
  FakeLine& line = world.lines[IntxRouter::LineFor(kPlace.slot)];
  Add()->SetIntx(true);
  EXPECT_TRUE(line.level);
  Write(kPlace, pci::kCommand, 2, pci::kCommandIntxDisable);
  world.pci.Remove(kPlace);
  EXPECT_FALSE(line.level);
  Card* const next = Add();
  EXPECT_FALSE(line.level);
  next->SetIntx(true);
  EXPECT_TRUE(line.level) << "its interrupts are not disabled";
  world.pci.Remove(kPlace);
  EXPECT_FALSE(line.level) << "nobody is left to lower it";
}

TEST_F(ComeAndGo, TheWindowIsNotUsedUp) {
  Add(PciPlace{.slot = 3});
  const uint64_t other = Bar({.slot = 3});
  for (int i = 0; i < 20000; ++i) {
    Add();
    ASSERT_NE(Bar(kPlace), other);
    world.pci.Remove(kPlace);
  }
  world.pci.Add(std::make_unique<Card>(world.msi, alive, 64_MiB), kPlace);
  EXPECT_EQ(Bar(kPlace) % (64_MiB).value, 0U);
}

TEST_F(ComeAndGo, BehindARootPortItLiesInThePortsWindow) {
  world.pci.AddRootPort({.slot = 2});
  const PciPlace behind{.bus = 1};
  const PciPlace port{.slot = 2};
  const uint64_t window = Read(port, 0x20, 4);
  EXPECT_GT(window >> 16, 0U);
  for (int i = 0; i < 3; ++i) {
    Add(behind);
    EXPECT_EQ(Bar(behind) >> 16, window & 0xfff0U);
    EXPECT_THROW(Add(behind), UsageError);
    Write(behind, pci::kCommand, 2, pci::kCommandMemory);
    EXPECT_TRUE(Answers(Bar(behind)));
    const uint64_t bar = Bar(behind);
    world.pci.Remove(behind);
    EXPECT_FALSE(Answers(bar));
    EXPECT_EQ(Read(port, 0x20, 4), window) << "the port is the guest's";
  }
}

TEST_F(ComeAndGo, WhatCannotBeSparedStays) {
  world.pci.AddRootPort({.slot = 2});
  Add();
  Add(PciPlace{.slot = 5, .function = 1});
  EXPECT_THROW(world.pci.Remove({}), UsageError) << "the host bridge";
  EXPECT_THROW(world.pci.Remove({.slot = 2}), UsageError) << "a root port";
  EXPECT_THROW(world.pci.Remove(kPlace), UsageError) << "function 0 before the others";
  for (const PciPlace nothing : {PciPlace{.slot = 9}, PciPlace{.slot = 32}, PciPlace{.slot = 5, .function = 8},
                                 PciPlace{.bus = 1}, PciPlace{.bus = 2}, PciPlace{.bus = 1, .slot = 1}}) {
    EXPECT_THROW(world.pci.Remove(nothing), UsageError);
  }
  EXPECT_EQ(alive, 2);
  world.pci.Remove({.slot = 5, .function = 1});
  world.pci.Remove(kPlace);
  EXPECT_EQ(alive, 0);
}

TEST_F(ComeAndGo, AVirtioDeviceTakesItsDoorbellsAndVectorsAlong) {
  const unsigned vectors = world.msi.vectors_left;
  for (int i = 0; i < 3; ++i) {
    world.pci.Add(MakeVirtioRng(world.environment()), kPlace);
    VirtioDriver driver(world, kPlace.slot);
    driver.Start(0, 1);
    EXPECT_GT(world.doorbells.count(), 0U);
    EXPECT_LT(world.msi.vectors_left, vectors);
    world.pci.Remove(kPlace);
    EXPECT_EQ(world.doorbells.count(), 0U);
    EXPECT_EQ(world.msi.vectors_left, vectors);
  }
}

TEST_F(ComeAndGo, AnAccessUnderWayIsWaitedForAndBringsNothingBack) {
  // As whoever is in the middle of an access to configuration space holds it.
  std::shared_ptr<PciFunction> held = Add()->shared_from_this();
  const uint64_t bar = Bar(kPlace);
  std::atomic<bool> removed{false};
  std::jthread ejecting([&] {
    world.pci.Remove(kPlace);
    removed = true;
  });
  while (world.pci.Occupied(kPlace)) std::this_thread::yield();
  constexpr std::array<std::byte, 2> kOn{std::byte{pci::kCommandMemory}};
  for (int i = 0; i < 50; ++i) {
    held->WriteConfig(pci::kCommand, kOn);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_FALSE(Answers(bar)) << "it is off the bus for good";
  EXPECT_FALSE(removed);
  EXPECT_EQ(alive, 1);
  held->Disconnect();
  held.reset();
  ejecting.join();
  EXPECT_EQ(alive, 0);
}

TEST_F(ComeAndGo, SoIsAnAccessToTheBar) {
  Add();
  Write(kPlace, pci::kCommand, 2, pci::kCommandMemory);
  const uint64_t bar = Bar(kPlace);
  Card::hold = true;
  Card::entered = false;
  std::jthread vcpu([&] { EXPECT_TRUE(Answers(bar)); });
  while (!Card::entered) std::this_thread::yield();
  std::atomic<bool> removed{false};
  std::jthread ejecting([&] {
    world.pci.Remove(kPlace);
    removed = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(removed);
  EXPECT_EQ(alive, 1);
  Card::hold = false;
  ejecting.join();
  EXPECT_EQ(alive, 0);
}

// Whatever vCPUs do with a card meanwhile: the accesses of one that ended are answered by nobody or by the whole card.
TEST_F(ComeAndGo, WhileVcpusAccessIt) {
  const PciPlace place = kPlace;
  Add(place);
  const uint64_t bar = Bar(place);
  std::atomic<int> dead{0};
  std::atomic<unsigned> reached{0};
  std::vector<std::jthread> vcpus;
  for (int i = 0; i < 3; ++i) {
    vcpus.emplace_back([&, i](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        if (i == 0) Write(place, pci::kCommand, 2, pci::kCommandMemory);
        if (i == 1) Read(place, pci::kBar0, 4);
        std::array<std::byte, 4> bytes = {};
        if (!world.mmio.Read(bar, bytes)) continue;
        ++reached;
        if (LoadLittleEndian(bytes) != 0x5a) ++dead;
      }
    });
  }
  for (int i = 0; i < 300 || (reached < 1000 && i < 1000000); ++i) {
    world.pci.Remove(place);
    ASSERT_EQ(alive, 0);
    Add(place);
    if (i % 8 == 0) world.pci.Reset();
    for (unsigned before = reached; i % 4 == 0 && reached == before;) std::this_thread::yield();
  }
  vcpus.clear();
  EXPECT_EQ(dead, 0);
  EXPECT_GE(reached, 75U);
}

class Hotplug : public testing::Test {
 protected:
  int told = 0;
  std::vector<unsigned> ejected;
  PciHotplug registers{{[this] { ++told; }, [this](unsigned slot) { ejected.push_back(slot); }}};
};

TEST_F(Hotplug, TellsOnceWhatCameAndWhatIsWantedBack) {
  registers.Inserted(0);
  registers.Inserted(31);
  registers.WantRemoval(7);
  EXPECT_EQ(told, 3);
  EXPECT_EQ(ReadRegister(registers, 0, 4), 0x80000001U);
  EXPECT_EQ(ReadRegister(registers, 0, 4), 0U);
  EXPECT_EQ(ReadRegister(registers, 4, 4), 0x80U);
  EXPECT_EQ(ReadRegister(registers, 4, 4), 0U);
  registers.Inserted(3);
  registers.WantRemoval(3);
  registers.Inserted(4);
  registers.Withdraw(3);
  EXPECT_EQ(ReadRegister(registers, 0, 4), 0x10U);
  EXPECT_EQ(ReadRegister(registers, 4, 4), 0U);
}

TEST_F(Hotplug, PassesOnWhatTheGuestEjects) {
  WriteRegister(registers, 8, 4, 0x80000006);
  EXPECT_EQ(ejected, (std::vector<unsigned>{1, 2, 31}));
  EXPECT_EQ(ReadRegister(registers, 8, 4), 0U);
}

TEST_F(Hotplug, OddAccessesChangeNothing) {
  registers.Inserted(1);
  for (uint64_t offset = 0; offset < PciHotplug::kPortCount.value; ++offset) {
    for (const size_t width : {1U, 2U, 4U}) {
      if (offset + width > PciHotplug::kPortCount.value) continue;
      if (width == 4 && offset % 4 == 0) continue;
      EXPECT_EQ(ReadRegister(registers, offset, width), 0U);
      WriteRegister(registers, offset, width, 0xffffffff);
    }
  }
  WriteRegister(registers, 0, 4, 0xffffffff);
  EXPECT_TRUE(ejected.empty());
  EXPECT_EQ(ReadRegister(registers, 0, 4), 2U);
}

}  // namespace
}  // namespace faultline
