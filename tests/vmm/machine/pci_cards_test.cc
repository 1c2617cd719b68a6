#include "vmm/machine/pci_cards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "guestmem/error.h"
#include "tests/devices/register_access.h"
#include "tests/devices/virtio/virtio_world.h"

namespace faultline {
namespace {

using testing::HasSubstr;

class PciCardsTest : public testing::Test {
 protected:
  PciCardsTest() {
    path_ = testing::TempDir() + "pci-cards-" + std::to_string(getpid());
    std::ofstream(path_) << std::string(4096, 'x');
    std::ofstream(path_ + "2") << std::string(4096, 'x');
  }
  ~PciCardsTest() override {
    std::filesystem::remove(path_);
    std::filesystem::remove(path_ + "2");
  }
  void Make(const DeviceConfig& config) {
    cards_.emplace(world_.pci, world_.environment(), config,
                   PciCards::Reports{[this] { ++news_; }, [this](const std::string& id) { gone_.push_back(id); }});
    cards_->AddAll({});
    cards_->FindSlots();
  }
  DiskConfig Disk(const std::string& id, std::optional<PciPlace> place = std::nullopt, bool second = false) const {
    DiskConfig disk;
    disk.path = path_ + (second ? "2" : "");
    disk.id = id;
    disk.pci_place = place;
    return disk;
  }
  static DeviceConfig Hotplug() {
    DeviceConfig config;
    config.hotplug = true;
    return config;
  }
  std::string PlugError(const Card& card) {
    try {
      cards_->Plug(card);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  std::string UnplugError(const std::string& id) {
    try {
      cards_->Unplug(id);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  uint64_t Inserted() { return ReadRegister(cards_->registers(), 0, 4); }
  uint64_t Wanted() { return ReadRegister(cards_->registers(), 4, 4); }
  void Eject(unsigned slot) { WriteRegister(cards_->registers(), 8, 4, uint64_t{1} << slot); }
  bool There(unsigned slot) const { return world_.pci.Occupied({.slot = slot}); }

  std::string path_;
  VirtioWorld world_;
  int news_ = 0;
  std::vector<std::string> gone_;
  std::optional<PciCards> cards_;
};

TEST_F(PciCardsTest, WhatADiskHasDoneIsCountedOnOverAReset) {
  DeviceConfig config;
  config.disks = {Disk("a")};
  Make(config);
  config = cards_->Devices();
  ASSERT_NE(config.disks.at(0).counters, nullptr);
  config.disks.at(0).counters->CountInvalid(BlockCounters::Kind::kRead);
  // As a machine that starts anew with the devices of the last one.
  world_.pci.Remove(*config.disks.at(0).pci_place);
  cards_.reset();
  Make(config);
  EXPECT_EQ(cards_->Devices().disks.at(0).counters, config.disks.at(0).counters);
}

TEST_F(PciCardsTest, ADiskComesAndGoesAndMayComeAgain) {
  Make(Hotplug());
  EXPECT_EQ(cards_->slots().size(), 31U);
  for (int i = 0; i < 3; ++i) {
    cards_->Plug(Disk("a", PciPlace{.slot = 9}));
    EXPECT_TRUE(There(9));
    EXPECT_EQ(news_, 2 * i + 1);
    EXPECT_EQ(Inserted(), 1U << 9);
    EXPECT_EQ(cards_->Devices().disks.at(0).pci_place, (PciPlace{.slot = 9}));
    cards_->Unplug("a");
    EXPECT_TRUE(There(9)) << "until the guest lets go";
    EXPECT_EQ(Wanted(), 1U << 9);
    EXPECT_EQ(UnplugError("a"), "") << "may be asked again";
    EXPECT_EQ(Wanted(), 1U << 9);
    --news_;
    Eject(9);
    EXPECT_FALSE(There(9));
    EXPECT_EQ(gone_.size(), static_cast<size_t>(i + 1));
    EXPECT_TRUE(cards_->Devices().disks.empty());
    EXPECT_THAT(UnplugError("a"), HasSubstr("no disk or network card 'a'"));
  }
}

TEST_F(PciCardsTest, WithoutAPlaceACardTakesTheFirstFreeSlotUntilNoneIsLeft) {
  DeviceConfig config = Hotplug();
  config.disks.push_back(Disk("cold"));
  Make(config);
  ASSERT_TRUE(There(1));
  DiskConfig disk = Disk("b", std::nullopt, true);
  disk.read_only = true;
  for (unsigned slot = 2; slot < 32; ++slot) {
    disk.id = std::to_string(slot);
    cards_->Plug(disk);
    EXPECT_TRUE(There(slot));
  }
  disk.id = "c";
  EXPECT_THAT(PlugError(disk), HasSubstr("no PCI slot is free"));
  Eject(1);
  EXPECT_EQ(gone_, (std::vector<std::string>{"cold"})) << "one from the start goes like the others";
  EXPECT_EQ(PlugError(disk), "");
}

TEST_F(PciCardsTest, WhatHasToStayIsNotTheGuestsToEject) {
  DeviceConfig config = Hotplug();
  config.rng = true;
  config.disks = {Disk("f0", PciPlace{.slot = 4}), Disk("f1", PciPlace{.slot = 4, .function = 1}, true)};
  Make(config);
  EXPECT_EQ(cards_->slots().size(), 29U) << "without those of the rng and of several functions";
  for (unsigned slot = 0; slot < 32; ++slot) Eject(slot);
  EXPECT_TRUE(There(1));
  EXPECT_TRUE(There(4));
  EXPECT_TRUE(gone_.empty());
  EXPECT_THAT(UnplugError("f0"), HasSubstr("stays while the VM runs"));
  EXPECT_THAT(UnplugError("f1"), HasSubstr("stays while the VM runs"));
  EXPECT_THAT(PlugError(Disk("x", PciPlace{.slot = 1})), HasSubstr("slot 1 of PCI bus 0"));
  EXPECT_THAT(PlugError(Disk("x", PciPlace{.slot = 5, .function = 1})), HasSubstr("function 0"));
}

TEST_F(PciCardsTest, BehindRootPortsCardsComeThereAlone) {
  DeviceConfig config = Hotplug();
  config.root_ports = {{.slot = 1}, {.slot = 1, .function = 1}};
  config.disks.push_back(Disk("root", PciPlace{.slot = 8}));
  Make(config);
  ASSERT_EQ(cards_->slots().size(), 2U);
  EXPECT_EQ(cards_->slots()[1].port, (PciPlace{.slot = 1, .function = 1}));
  EXPECT_THAT(UnplugError("root"), HasSubstr("put it behind a root port"));
  EXPECT_THAT(PlugError(Disk("x", PciPlace{.slot = 9}, true)), HasSubstr("free root port"));
  cards_->Plug(Disk("x", PciPlace{.bus = 2}, true));
  EXPECT_EQ(Inserted(), 2U);
  EXPECT_THAT(PlugError(Disk("y", PciPlace{.bus = 2}, true)), HasSubstr("taken"));
  Eject(0);
  Eject(1);
  EXPECT_EQ(gone_, (std::vector<std::string>{"x"}));
}

TEST_F(PciCardsTest, AFailedPlugLeavesNothing) {
  Make(Hotplug());
  DiskConfig missing = Disk("m", PciPlace{.slot = 3});
  missing.path += ".missing";
  EXPECT_THAT(PlugError(missing), HasSubstr(".missing"));
  EXPECT_FALSE(There(3));
  EXPECT_EQ(news_, 0);
  EXPECT_TRUE(cards_->Devices().disks.empty());
  EXPECT_THAT(PlugError(Disk("")), HasSubstr("needs an id"));
  cards_->Plug(Disk("a"));
  EXPECT_THAT(PlugError(Disk("a", std::nullopt, true)), HasSubstr("'a' is there already"));
}

TEST_F(PciCardsTest, WithoutHotplugNothingComes) {
  Make({});
  EXPECT_TRUE(cards_->slots().empty());
  EXPECT_THAT(PlugError(Disk("a")), HasSubstr("give them to it when it is started"));
}

}  // namespace
}  // namespace faultline
