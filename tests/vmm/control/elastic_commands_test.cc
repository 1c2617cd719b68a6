// The QMP commands for virtio-mem and the balloon, over devices that only remember.
#include <gtest/gtest.h>
#include <linux/virtio_balloon.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "tests/vmm/control/command_runner.h"
#include "tests/vmm/control/fake_balloon.h"
#include "vmm/control/command_table.h"
#include "vmm/control/machine_events.h"
#include "vmm/control/qmp_error.h"

namespace faultline {
namespace {

using nlohmann::json;

class ElasticCommands : public CommandRunner {
 protected:
  void AddMem(const std::string& id) {
    VirtioMemInfo mem;
    mem.id = id;
    mem.region = {Gpa(0x140000000), 1_GiB};
    mem.block = 2_MiB;
    mem.state.plugged = 64_MiB;
    mem.present = 8_MiB;
    vm_.mems.push_back(mem);
  }
  FakeBalloon balloon_;
};

TEST_F(ElasticCommands, QomSetResizesVirtioMemTheWayLibvirtAsks) {
  AddMem("vmem0");
  const json path{{"path", "/machine/peripheral/vmem0"}, {"property", "requested-size"}};
  json set = path;
  set["value"] = 268435456;
  EXPECT_EQ(Run("qom-set", set), json::object());
  EXPECT_EQ(Run("qom-get", path), 268435456);
  EXPECT_EQ(Run("qom-get", {{"path", "vmem0"}, {"property", "size"}}), 67108864);
  EXPECT_EQ(Run("query-memory-devices"), json::array({{{"type", "virtio-mem"},
                                                       {"data",
                                                        {{"id", "vmem0"},
                                                         {"memaddr", 0x140000000},
                                                         {"requested-size", 268435456},
                                                         {"size", 67108864},
                                                         {"max-size", 1073741824},
                                                         {"block-size", 2097152},
                                                         {"node", 0},
                                                         {"memdev", "/objects/vmem0"}}}}}));
  EXPECT_EQ(Error("qom-set", {{"path", "vmem0"}, {"property", "size"}, {"value", 1}}),
            "Property 'virtio-mem-pci.size' cannot be set");
  EXPECT_EQ(Error("qom-get", {{"path", "nobody"}, {"property", "size"}}), "Device 'nobody' not found");
  EXPECT_EQ(Error("qom-set", {{"path", "vmem0"}, {"property", "requested-size"}, {"value", "1G"}}),
            "Invalid parameter type for 'value', expected: uint64");
}

TEST_F(ElasticCommands, ResizeNeedsNoIdWhereThereIsOneDevice) {
  EXPECT_NE(Error("x-faultline-memory-resize", {{"size", 0}}).find("--virtio-mem"), std::string::npos);
  AddMem("vmem0");
  EXPECT_EQ(Run("x-faultline-memory-resize", {{"size", 4194304}}), (json{{"id", "vmem0"}}));
  EXPECT_EQ(vm_.mems[0].state.requested, 4_MiB);
  AddMem("vmem1");
  EXPECT_NE(Error("x-faultline-memory-resize", {{"size", 0}}).find("--id"), std::string::npos);
  EXPECT_EQ(Run("x-faultline-memory-resize", {{"size", 0}, {"id", "vmem1"}}), (json{{"id", "vmem1"}}));
  const json list = Run("x-faultline-memory-devices");
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].at("requested"), 4194304);
  EXPECT_EQ(list[0].at("plugged"), 67108864);
  EXPECT_EQ(list[0].at("present"), 8388608);
}

TEST_F(ElasticCommands, TheBalloonCountsWhatTheGuestKeeps) {
  EXPECT_EQ(Error("query-balloon"), "No balloon device has been activated");
  vm_.SetBalloon(&balloon_);
  EXPECT_EQ(Run("balloon", {{"value", 67108864}}), json::object());
  EXPECT_EQ(balloon_.the_state.target, 192_MiB);
  balloon_.the_state.held = 100_MiB;
  EXPECT_EQ(Run("query-balloon"), (json{{"actual", 163577856}}));
  Run("balloon", {{"value", std::numeric_limits<uint64_t>::max()}});
  EXPECT_EQ(balloon_.the_state.target, Bytes(0)) << "no more than there is";
  EXPECT_EQ(Error("balloon", {{"value", 0}}), "Parameter 'target' expects a size");
  // A guest may claim any size.
  balloon_.the_state.held = Bytes(1ULL << 44);
  EXPECT_EQ(Run("query-balloon"), (json{{"actual", 0}}));
}

TEST_F(ElasticCommands, GuestStatisticsHaveQemusNames) {
  vm_.SetBalloon(&balloon_);
  balloon_.the_statistics.values[VIRTIO_BALLOON_S_MEMFREE] = 4096;
  balloon_.the_statistics.updated = std::chrono::system_clock::time_point(std::chrono::seconds(1700000000));
  const json path{{"path", "/machine/peripheral/balloon0"}, {"property", "guest-stats"}};
  const json got = Run("qom-get", path);
  EXPECT_EQ(got.at("last-update"), 1700000000);
  EXPECT_EQ(got.at("stats").at("stat-free-memory"), 4096);
  EXPECT_EQ(got.at("stats").at("stat-total-memory"), std::numeric_limits<uint64_t>::max());
  json interval{{"path", "balloon0"}, {"property", "guest-stats-polling-interval"}};
  EXPECT_EQ(Run("qom-get", interval), 0);
  interval["value"] = 5;
  Run("qom-set", interval);
  EXPECT_EQ(balloon_.statistics_interval(), std::chrono::seconds(5));
  interval["value"] = 100000;
  EXPECT_NE(Error("qom-set", interval).find("longer than a day"), std::string::npos);
}

TEST_F(ElasticCommands, AreFoundWhereLibvirtLooksForDevicesAndStay) {
  AddMem("vmem0");
  vm_.SetBalloon(&balloon_);
  EXPECT_EQ(Run("qom-list", {{"path", "/machine/peripheral"}}),
            json::array({{{"name", "type"}, {"type", "string"}},
                         {{"name", "vmem0"}, {"type", "child<virtio-mem-pci>"}},
                         {{"name", "balloon0"}, {"type", "child<virtio-balloon-pci>"}}}));
  // By this property libvirt knows that there are statistics.
  EXPECT_NE(Run("qom-list", {{"path", "/machine/peripheral/balloon0"}}).dump().find("guest-stats-polling-interval"),
            std::string::npos);
  EXPECT_EQ(Run("qom-get", {{"path", "/machine/peripheral/balloon0"}, {"property", "deflate-on-oom"}}), true);
  EXPECT_EQ(Error("qom-get", {{"path", "balloon0"}, {"property", "colour"}}),
            "Property 'virtio-balloon-pci.colour' not found");
  // To a client "not found" would say that it is gone.
  EXPECT_NE(Error("device_del", {{"id", "vmem0"}}).find("stays"), std::string::npos);
  Run("object-add", {{"qom-type", "memory-backend-ram"}, {"id", "m"}, {"size", 2097152}});
  EXPECT_EQ(Error("device_add", {{"driver", "pc-dimm"}, {"id", "vmem0"}, {"memdev", "m"}}),
            "Duplicate device ID 'vmem0'");
  vm_.backends().SetDevice("m", "vmem0");
  EXPECT_NE(Error("object-del", {{"id", "m"}}).find("in use"), std::string::npos);
  EXPECT_EQ(Run("query-memory-devices").at(0).at("data").at("memdev"), "/objects/m");
}

TEST_F(ElasticCommands, TrimmingNeedsADriverThatTellsOfFreePages) {
  EXPECT_EQ(Error("x-faultline-balloon-trim"), "No balloon device has been activated");
  vm_.SetBalloon(&balloon_);
  EXPECT_NE(Error("x-faultline-balloon-trim").find("not running"), std::string::npos);
  balloon_.can_hint = true;
  EXPECT_EQ(Run("x-faultline-balloon-trim"), json::object());
}

TEST_F(ElasticCommands, TheMapHasAsManyStretchesAsAreWanted) {
  const json map = Run("x-faultline-memory-map", {{"cells", 2}});
  EXPECT_EQ(map, json::array({{{"id", "boot"},
                               {"addr", 0},
                               {"size", 268435456},
                               {"cell", 134217728},
                               {"plugged", {4194304, 4194304}},
                               {"present", {1048576, 1048576}}}}));
  EXPECT_EQ(Run("x-faultline-memory-map").at(0).at("present").size(), 64U);
  for (const uint64_t cells : {uint64_t{0}, uint64_t{4097}, std::numeric_limits<uint64_t>::max()}) {
    EXPECT_EQ(Error("x-faultline-memory-map", {{"cells", cells}}), "Parameter 'cells' expects a number from 1 to 4096");
  }
}

TEST(ElasticEvents, AreQemus) {
  std::string seen;
  const QmpEmit emit = [&seen](std::string_view name, const json& data) { seen = std::string(name) + data.dump(); };
  TranslateMachineEvent(VirtioMemSizeEvent{"vmem0", 2_MiB}, emit);
  EXPECT_EQ(seen, R"(MEMORY_DEVICE_SIZE_CHANGE{"id":"vmem0","qom-path":"/machine/peripheral/vmem0","size":2097152})");
  TranslateMachineEvent(BalloonEvent{64_MiB}, emit);
  EXPECT_EQ(seen, R"(BALLOON_CHANGE{"actual":67108864})");
}

}  // namespace
}  // namespace faultline
