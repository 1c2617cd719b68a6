#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/vmm/control/command_runner.h"
#include "vmm/control/command_table.h"
#include "vmm/control/qmp_error.h"

namespace faultline {
namespace {

using nlohmann::json;

class Commands : public CommandRunner {};

TEST_F(Commands, QueryStatusUsesQemusWords) {
  EXPECT_EQ(Run("query-status"), (json{{"running", true}, {"singlestep", false}, {"status", "running"}}));
  Run("stop");
  EXPECT_EQ(Run("query-status").at("status"), "paused");
  vm_.pause_reason = PauseReason::kIoError;
  EXPECT_EQ(Run("query-status").at("status"), "io-error");
  Run("cont");
  EXPECT_EQ(Run("query-status").at("running"), true);
}

TEST_F(Commands, QueryCommandsNamesWhatCanBeRun) {
  const json list = Run("query-commands");
  ASSERT_EQ(list.size(), QmpCommands().size() + 2);
  EXPECT_EQ(list.at(0), (json{{"name", "qmp_capabilities"}}));
  EXPECT_EQ(list.at(1), (json{{"name", "getfd"}}));
  EXPECT_EQ(list.at(2), (json{{"name", "balloon"}}));
}

TEST_F(Commands, QueryCpusFastGivesEachVcpuItsThread) {
  const json list = Run("query-cpus-fast");
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list.at(1).at("cpu-index"), 1);
  EXPECT_EQ(list.at(1).at("thread-id"), 4712);
}

TEST_F(Commands, ADimmIsPluggedTheWayQemuDoesIt) {
  Run("object-add", {{"qom-type", "memory-backend-ram"}, {"id", "m0"}, {"size", 134217728}});
  Run("device_add",
      {{"driver", "pc-dimm"}, {"id", "d0"}, {"memdev", "m0"}, {"slot", 2}, {"addr", 0x140000000}, {"node", 1}});
  ASSERT_EQ(vm_.plugs.size(), 1U);
  EXPECT_EQ(vm_.plugs[0].size, 128_MiB);
  EXPECT_EQ(vm_.plugs[0].slot, 2U);
  EXPECT_EQ(vm_.plugs[0].node, 1U);
  EXPECT_EQ(vm_.plugs[0].address, Gpa(0x140000000));
  EXPECT_EQ(Run("query-memory-devices"), json::array({{{"type", "dimm"},
                                                       {"data",
                                                        {{"id", "d0"},
                                                         {"addr", 0x140000000},
                                                         {"size", 134217728},
                                                         {"slot", 2},
                                                         {"node", 1},
                                                         {"memdev", "/objects/m0"},
                                                         {"hotpluggable", true},
                                                         {"hotplugged", true}}}}}));
  EXPECT_EQ(Run("query-memory-size-summary"), (json{{"base-memory", 268435456}, {"plugged-memory", 134217728}}));
  Run("device_del", {{"id", "d0"}});
  ASSERT_EQ(vm_.unplugs.size(), 1U);
  EXPECT_FALSE(vm_.unplugs[0].force);
  EXPECT_FALSE(vm_.unplugs[0].timeout) << "QEMU's guest may take as long as it likes";
}

TEST_F(Commands, ABackendIsBusyUntilItsDeviceIsGone) {
  Run("object-add", {{"qom-type", "memory-backend-ram"}, {"id", "m0"}, {"size", 2097152}});
  Run("device_add", {{"driver", "pc-dimm"}, {"id", "d0"}, {"memdev", "m0"}});
  EXPECT_NE(Error("object-del", {{"id", "m0"}}).find("in use"), std::string::npos);
  EXPECT_NE(Error("device_add", {{"driver", "pc-dimm"}, {"id", "d1"}, {"memdev", "m0"}}).find("busy"),
            std::string::npos);
  vm_.devices.clear();
  EXPECT_EQ(Run("object-del", {{"id", "m0"}}), json::object());
  EXPECT_NE(Error("object-del", {{"id", "m0"}}).find("not found"), std::string::npos);
}

TEST_F(Commands, AFailedDeviceAddLeavesTheBackendFree) {
  Run("object-add", {{"qom-type", "memory-backend-ram"}, {"id", "big"}, {"size", (2_GiB).value}});
  EXPECT_NE(Error("device_add", {{"driver", "pc-dimm"}, {"id", "d0"}, {"memdev", "big"}}), "");
  EXPECT_EQ(Run("object-del", {{"id", "big"}}), json::object());
}

TEST_F(Commands, BackendsComeInThreeKinds) {
  Run("object-add", {{"qom-type", "memory-backend-memfd"}, {"id", "a"}, {"size", 2097152}, {"share", true}});
  Run("object-add", {{"qom-type", "memory-backend-memfd"}, {"id", "b"}, {"size", 2097152}, {"hugetlb", true}});
  Run("object-add", {{"qom-type", "memory-backend-file"}, {"id", "c"}, {"size", 2097152}, {"mem-path", "/x"}});
  for (const char* id : {"a", "b", "c"}) Run("device_add", {{"driver", "pc-dimm"}, {"id", id}, {"memdev", id}});
  EXPECT_EQ(vm_.plugs.at(0).backing->kind, BackingKind::kMemfd);
  EXPECT_EQ(vm_.plugs.at(1).backing->kind, BackingKind::kHugetlb);
  EXPECT_EQ(vm_.plugs.at(2).backing->kind, BackingKind::kFile);
  EXPECT_EQ(vm_.plugs.at(2).backing->path, "/x");
}

TEST_F(Commands, WhatIsNotOfferedIsRefusedLoudly) {
  EXPECT_NE(Error("object-add", {{"qom-type", "rng-random"}, {"id", "r"}}).find("rng-random"), std::string::npos);
  EXPECT_NE(
      Error("object-add", {{"qom-type", "memory-backend-ram"}, {"id", "p"}, {"size", 2097152}, {"prealloc", true}})
          .find("prealloc"),
      std::string::npos);
  EXPECT_NE(Error("device_add", {{"driver", "e1000"}, {"id", "n"}, {"memdev", "m"}}).find("e1000"), std::string::npos);
  EXPECT_NE(Error("device_add", {{"driver", "pc-dimm"}, {"id", "d"}, {"memdev", "nothing"}}).find("nothing"),
            std::string::npos);
  EXPECT_TRUE(vm_.plugs.empty());
}

TEST_F(Commands, PluggedMemoryIsNamedForItsSlotUnlessThatNameIsTaken) {
  const auto plug = [&](json more) {
    more["size"] = 2097152;
    return Run("x-faultline-memory-plug", more).at("id").get<std::string>();
  };
  EXPECT_EQ(plug(json::object()), "dimm0");
  EXPECT_EQ(plug(json::object()), "dimm1");
  vm_.devices.erase(vm_.devices.begin());
  EXPECT_EQ(plug({{"slot", 0}}), "dimm0");
  EXPECT_EQ(plug({{"slot", 3}}), "dimm3");
  EXPECT_EQ(plug({{"id", "dimm4"}, {"slot", 2}}), "dimm4");
  EXPECT_EQ(plug(json::object()), "dimm2") << "slot 4 is free, but dimm4 is the name of another";
  EXPECT_NE(Error("x-faultline-memory-plug", {{"size", 2097152}, {"id", "dimm1"}}), "");
}

TEST_F(Commands, UnplugPassesForceAndDeadlineOn) {
  Run("x-faultline-memory-plug", {{"size", 2097152}});
  Run("x-faultline-memory-unplug", {{"id", "dimm0"}, {"timeout-ms", 5000}});
  Run("x-faultline-memory-unplug", {{"id", "dimm0"}, {"force", true}});
  EXPECT_EQ(vm_.unplugs.at(0).timeout, std::chrono::seconds(5));
  EXPECT_TRUE(vm_.unplugs.at(1).force);
  EXPECT_THROW(Run("x-faultline-memory-unplug", {{"id", "dimm0"}, {"timeout-ms", UINT64_MAX}}), UsageError);
}

TEST_F(Commands, AnUnplugIsAnOperationWithANumberThatCanBeWatchedAndWithdrawn) {
  Run("x-faultline-memory-plug", {{"size", 2097152}});
  EXPECT_EQ(Run("x-faultline-memory-unplug", {{"id", "dimm0"}}), (json{{"operation", 1}}));
  UnplugOperationInfo operation;
  operation.operation = 1;
  operation.id = "dimm0";
  operation.stage = UnplugStage::kEmptying;
  operation.time_left = std::chrono::seconds(3);
  vm_.operations.push_back(operation);
  json list = Run("x-faultline-memory-operations");
  EXPECT_EQ(list.at(0).at("stage"), "emptying");
  EXPECT_EQ(list.at(0).at("left-ms"), 3000);
  EXPECT_FALSE(list.at(0).contains("result"));
  Run("x-faultline-memory-cancel", {{"operation", 1}});
  EXPECT_EQ(vm_.cancels, std::vector<uint64_t>{1});
  EXPECT_NE(Error("x-faultline-memory-cancel", {{"operation", 7}}), "");
  UnplugResult withdrawn;
  withdrawn.id = "dimm0";
  withdrawn.outcome = UnplugOutcome::kWithdrawn;
  withdrawn.reason = "withdrawn";
  vm_.operations[0].result = withdrawn;
  list = Run("x-faultline-memory-operations");
  EXPECT_EQ(list.at(0).at("result").at("outcome"), "withdrawn");
}

TEST_F(Commands, InfoTellsEverythingInOneObject) {
  const json info = Run("x-faultline-info");
  EXPECT_EQ(info.at("name"), "fake");
  EXPECT_EQ(info.at("status"), "running");
  EXPECT_EQ(info.at("memory").at("max"), (4_GiB).value);
  EXPECT_GT(info.at("host").at("resident"), 0);
  EXPECT_GT(info.at("faults").at("latency-ns").at("max"), 0);
  EXPECT_EQ(info.at("vcpus").at(1).at("thread-id"), 4712);
}

TEST_F(Commands, ShutdownAndQuitReachTheVm) {
  Run("system_powerdown");
  Run("quit");
  EXPECT_EQ(vm_.shutdowns, 1);
  EXPECT_EQ(vm_.quits, 1);
}

}  // namespace
}  // namespace faultline
