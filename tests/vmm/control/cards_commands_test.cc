// Disks and network cards plugged the way QEMU's clients do it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/vmm/control/command_runner.h"

namespace faultline {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class CardsCommands : public CommandRunner {
 protected:
  void AddNodes(const std::string& number) {
    Run("blockdev-add", {{"driver", "file"},
                         {"filename", "/d" + number},
                         {"node-name", "s" + number},
                         {"auto-read-only", true},
                         {"discard", "unmap"}});
    Run("blockdev-add",
        {{"driver", "raw"}, {"file", "s" + number}, {"node-name", "f" + number}, {"read-only", number == "ro"}});
  }
  static json Disk(const std::string& id, const std::string& node) {
    return {{"driver", "virtio-blk-pci"}, {"id", id}, {"drive", node}, {"bus", "pci.0"}, {"addr", "0x7"}};
  }
};

TEST_F(CardsCommands, ADiskComesWithItsNodesAndGoesBeforeThem) {
  AddNodes("1");
  EXPECT_EQ(Run("query-named-block-nodes"), json::array()) << "no disk yet";
  Run("device_add", Disk("vd1", "f1"));
  ASSERT_EQ(vm_.cards.disks.size(), 1U);
  EXPECT_EQ(vm_.cards.disks[0].id, "vd1");
  EXPECT_EQ(vm_.cards.disks[0].path, "/d1");
  EXPECT_FALSE(vm_.cards.disks[0].read_only);
  EXPECT_EQ(vm_.cards.disks[0].pci_place, (PciPlace{.slot = 7}));
  EXPECT_EQ(Run("query-block").at(0).at("qdev"), "/machine/peripheral/vd1/virtio-backend");
  EXPECT_EQ(Run("query-named-block-nodes").size(), 2U);
  EXPECT_THAT(Run("qom-list", {{"path", "/machine/peripheral"}}).dump(), HasSubstr("virtio-blk-pci"));
  EXPECT_THAT(Error("blockdev-del", {{"node-name", "f1"}}), HasSubstr("used by another disk, 'vd1'"));

  Run("device_del", {{"id", "vd1"}});
  EXPECT_EQ(vm_.card_unplugs, (std::vector<std::string>{"vd1"}));
  EXPECT_NE(Error("blockdev-del", {{"node-name", "f1"}}), "") << "it was asked for, and is there still";
  vm_.cards.disks.clear();
  EXPECT_THAT(Error("device_del", {{"id", "vd1"}}), HasSubstr("not found"));
  EXPECT_THAT(Error("blockdev-del", {{"node-name", "s1"}}), HasSubstr("is used by 'f1'"));
  Run("blockdev-del", {{"node-name", "f1"}});
  Run("blockdev-del", {{"node-name", "s1"}});
  AddNodes("1");
  Run("device_add", Disk("vd1", "f1"));
}

TEST_F(CardsCommands, WhatADiskHasDoneIsTold) {
  using Kind = BlockCounters::Kind;
  AddNodes("1");
  AddNodes("2");
  EXPECT_EQ(Run("query-blockstats"), json::array()) << "no disk yet";
  Run("device_add", Disk("vd1", "f1"));
  json second = Disk("vd2", "f2");
  second["addr"] = "0x8";
  Run("device_add", second);
  for (DiskConfig& disk : vm_.cards.disks) disk.counters = std::make_shared<BlockCounters>();
  BlockCounters& counters = *vm_.cards.disks.at(1).counters;
  counters.CountDone(Kind::kRead, Bytes(4096), std::chrono::nanoseconds(70));
  counters.CountDone(Kind::kWrite, Bytes(512), std::chrono::nanoseconds(80));
  counters.CountDone(Kind::kFlush, Bytes(0), std::chrono::nanoseconds(90));
  counters.CountFailed(Kind::kWrite, std::chrono::nanoseconds(20));
  counters.CountInvalid(Kind::kUnmap);
  counters.NoteWritten(Bytes(1024));

  const json list = Run("query-blockstats");
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list.at(0).at("stats").at("rd_operations"), 0);
  const json& disk = list.at(1);
  EXPECT_EQ(disk.at("qdev"), "/machine/peripheral/vd2/virtio-backend");
  EXPECT_EQ(disk.at("device"), "");
  EXPECT_EQ(disk.at("node-name"), "f2");
  const json& stats = disk.at("stats");
  EXPECT_EQ(stats.at("rd_operations"), 1);
  EXPECT_EQ(stats.at("rd_bytes"), 4096);
  EXPECT_EQ(stats.at("rd_total_time_ns"), 70);
  EXPECT_EQ(stats.at("wr_operations"), 1);
  EXPECT_EQ(stats.at("wr_bytes"), 512);
  EXPECT_EQ(stats.at("wr_total_time_ns"), 100);
  EXPECT_EQ(stats.at("wr_highest_offset"), 1024);
  EXPECT_EQ(stats.at("failed_wr_operations"), 1);
  EXPECT_EQ(stats.at("flush_operations"), 1);
  EXPECT_EQ(stats.at("flush_total_time_ns"), 90);
  EXPECT_EQ(stats.at("invalid_unmap_operations"), 1);
  EXPECT_EQ(disk.at("parent").at("node-name"), "s2");

  const json nodes = Run("query-blockstats", {{"query-nodes", true}});
  ASSERT_EQ(nodes.size(), 4U);
  EXPECT_EQ(nodes.at(2).at("node-name"), "f2");
  EXPECT_EQ(nodes.at(2).at("stats").at("wr_highest_offset"), 1024);
  EXPECT_EQ(nodes.at(2).at("stats").at("rd_operations"), 0) << "the disk's, not the node's";
  EXPECT_EQ(nodes.at(3).at("node-name"), "s2");

  const json info = Run("x-faultline-info").at("disks");
  EXPECT_EQ(info.at(1).at("path"), "/d2");
  EXPECT_EQ(info.at(1).at("reads").at("bytes"), 4096);
  EXPECT_EQ(info.at(1).at("writes").at("failed"), 1);
  EXPECT_THAT(Error("query-blockstats", {{"query-nodes", 1}}), HasSubstr("query-nodes"));
}

TEST_F(CardsCommands, ANetworkCardComesWithItsBackend) {
  Run("netdev_add", {{"type", "user"}, {"id", "hn"}});
  Run("device_add", {{"driver", "virtio-net-pci"}, {"id", "n"}, {"netdev", "hn"}, {"mac", "52:54:00:00:00:09"}});
  ASSERT_EQ(vm_.cards.net_cards.size(), 1U);
  EXPECT_EQ(vm_.cards.net_cards[0].id, "n");
  EXPECT_EQ(vm_.cards.net_cards[0].mac->back(), 9);
  EXPECT_FALSE(vm_.cards.net_cards[0].pci_place) << "wherever there is room";
  EXPECT_THAT(Error("netdev_del", {{"id", "hn"}}), HasSubstr("used by another network card, 'n'"));
  vm_.cards.net_cards.clear();
  Run("netdev_del", {{"id", "hn"}});
  EXPECT_THAT(Error("netdev_del", {{"id", "hn"}}), HasSubstr("there is no netdev 'hn'"));
}

TEST_F(CardsCommands, ATapComesByADescriptorThatIsTakenOnce) {
  FileDescriptor fd(Host::System(), open("/dev/null", O_RDWR | O_CLOEXEC));
  const int number = fd.get();
  vm_.descriptors().Add("tap", std::move(fd));
  Run("netdev_add", {{"type", "tap"}, {"id", "hn"}, {"fd", "tap"}});
  EXPECT_THAT(Error("netdev_add", {{"type", "tap"}, {"id", "other"}, {"fd", "tap"}}), HasSubstr("not found"));
  Run("device_add", {{"driver", "virtio-net-pci"}, {"id", "n"}, {"netdev", "hn"}});
  EXPECT_EQ(vm_.cards.net_cards.at(0).tap_fd->get(), number);
  vm_.cards.net_cards.clear();
  Run("netdev_del", {{"id", "hn"}});
  EXPECT_LT(fcntl(number, F_GETFD), 0) << "closed with its backend";
}

TEST_F(CardsCommands, WhatMakesNoSenseIsRefusedAndLeavesAllAsItWas) {
  AddNodes("1");
  Run("netdev_add", {{"type", "user"}, {"id", "hn"}});
  const json qcow{{"driver", "qcow2"}, {"file", "s1"}, {"node-name", "q"}};
  EXPECT_THAT(Error("blockdev-add", qcow), HasSubstr("disks are raw, not 'qcow2'"));
  EXPECT_THAT(Error("blockdev-add", {{"driver", "file"}, {"filename", "/x"}, {"node-name", "s1"}}),
              HasSubstr("'s1' is taken"));
  EXPECT_THAT(Error("blockdev-add", {{"driver", "file"}, {"node-name", "x"}}), HasSubstr("filename"));
  EXPECT_THAT(Error("blockdev-add", {{"driver", "file"}, {"filename", "/x"}, {"node-name", "x"}, {"odd", 1}}),
              HasSubstr("odd"));
  EXPECT_THAT(Error("netdev_add", {{"type", "bridge"}, {"id", "x"}}), HasSubstr("'user' and 'tap', not 'bridge'"));
  EXPECT_THAT(Error("netdev_add", {{"type", "tap"}, {"id", "x"}}), HasSubstr("ifname="));
  EXPECT_THAT(Error("netdev_add", {{"type", "user"}, {"id", "hn"}}), HasSubstr("'hn' is taken"));

  EXPECT_THAT(Error("device_add", Disk("d", "nothing")), HasSubstr("no block node 'nothing'"));
  json odd = Disk("d", "f1");
  odd["colour"] = "red";
  EXPECT_THAT(Error("device_add", odd), HasSubstr("colour"));
  odd = Disk("d", "f1");
  odd["bus"] = "pci.9";
  EXPECT_THAT(Error("device_add", odd), HasSubstr("pci.9"));
  odd = Disk("d", "f1");
  odd.erase("id");
  EXPECT_THAT(Error("device_add", odd), HasSubstr("id"));
  EXPECT_THAT(Error("device_add", {{"driver", "virtio-net-pci"}, {"id", "n"}, {"netdev", "hn"}, {"mac", "x"}}),
              HasSubstr("x"));
  EXPECT_THAT(Error("device_add", {{"driver", "e1000"}, {"id", "n"}}), HasSubstr("virtio-net-pci"));
  EXPECT_TRUE(vm_.cards.disks.empty());
  EXPECT_TRUE(vm_.cards.net_cards.empty());

  Run("device_add", Disk("d", "f1"));
  EXPECT_THAT(Error("device_add", Disk("d2", "f1")), HasSubstr("used by another disk"));
  AddNodes("ro");
  EXPECT_THAT(Error("device_add", Disk("d", "fro")), HasSubstr("Duplicate"));
  Run("device_add", Disk("d2", "fro"));
  EXPECT_TRUE(vm_.cards.disks.at(1).read_only);
}

TEST_F(CardsCommands, AFailedPlugLeavesTheNodesFree) {
  AddNodes("1");
  vm_.refuse_cards = true;
  EXPECT_THAT(Error("device_add", Disk("d", "f1")), HasSubstr("no slot"));
  vm_.refuse_cards = false;
  Run("device_add", Disk("d", "f1"));
}

}  // namespace
}  // namespace faultline
