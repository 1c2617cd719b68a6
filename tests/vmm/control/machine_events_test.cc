#include "vmm/control/machine_events.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <vector>

namespace faultline {
namespace {

using nlohmann::json;

std::vector<std::pair<std::string, json>> Translate(const MachineEvent& event) {
  std::vector<std::pair<std::string, json>> seen;
  TranslateMachineEvent(event, [&](std::string_view name, const json& data) { seen.emplace_back(name, data); });
  return seen;
}

std::vector<std::string> Names(const MachineEvent& event) {
  std::vector<std::string> names;
  for (auto& [name, data] : Translate(event)) names.push_back(name);
  return names;
}

using Strings = std::vector<std::string>;

TEST(MachineEvents, AVmThatStopsByItselfSaysWhy) {
  EXPECT_EQ(Names(PausedEvent{PauseReason::kRequested, ""}), Strings{"STOP"});
  const auto seen = Translate(PausedEvent{PauseReason::kUnpluggedAccess, "vCPU 0 did it"});
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_EQ(seen[1].first, "X_FAULTLINE_STOPPED");
  EXPECT_EQ(seen[1].second, (json{{"reason", "unplugged-access"}, {"message", "vCPU 0 did it"}}));
}

TEST(MachineEvents, EachEndHasQemusReason) {
  const auto reason = [](ExitKind kind) {
    return Translate(ExitedEvent{{kind, 0, ""}}).at(0).second.at("reason").get<std::string>();
  };
  EXPECT_EQ(reason(ExitKind::kGuestHalt), "guest-shutdown");
  EXPECT_EQ(reason(ExitKind::kShutdown), "guest-shutdown");
  EXPECT_EQ(reason(ExitKind::kCrash), "guest-panic");
  EXPECT_EQ(reason(ExitKind::kError), "host-error");
  EXPECT_EQ(reason(ExitKind::kKilled), "host-qmp-quit");
}

TEST(MachineEvents, AFinishedUnplugIsADeletedDeviceWithItsPhases) {
  UnplugResult result;
  result.id = "dimm0";
  result.report.revoke_ns = 1;
  result.report.slot_delete_ns = 2;
  result.report.scan_ns = 3;
  result.report.discard_ns = 4;
  result.report.total_ns = 10;
  result.report.discarded = 2_MiB;
  const auto seen = Translate(MemoryUnplugEvent{3, result});
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_EQ(seen[0].first, "DEVICE_DELETED");
  EXPECT_EQ(seen[0].second, (json{{"device", "dimm0"}, {"path", "/machine/peripheral/dimm0"}}));
  EXPECT_EQ(seen[1].first, "X_FAULTLINE_MEMORY_UNPLUG");
  EXPECT_EQ(seen[1].second.at("outcome"), "done");
  EXPECT_EQ(seen[1].second.at("slot"), 3);
  EXPECT_EQ(seen[1].second.at("discarded"), (2_MiB).value);
  EXPECT_EQ(seen[1].second.at("ns"),
            (json{{"revoke", 1}, {"slot-delete", 2}, {"scan", 3}, {"discard", 4}, {"total", 10}}));
}

TEST(MachineEvents, ARefusalCarriesTheGuestsReason) {
  UnplugResult result;
  result.id = "dimm0";
  result.outcome = UnplugOutcome::kRefused;
  result.reason = "the guest refused";
  result.ost_status = 0x82;
  const auto seen = Translate(MemoryUnplugEvent{0, result});
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen[0].first, "DEVICE_UNPLUG_GUEST_ERROR");
  EXPECT_EQ(seen[1].first, "MEM_UNPLUG_ERROR");
  EXPECT_EQ(seen[1].second.at("msg"), "the guest refused");
  EXPECT_EQ(seen[2].second.at("outcome"), "refused");
  EXPECT_EQ(seen[2].second.at("ost-status"), 0x82);
  EXPECT_EQ(seen[2].second.count("ns"), 0U);
}

TEST(MachineEvents, AnOstReportHasQemusShape) {
  EXPECT_EQ(
      Translate(OstEvent{"dimm0", 1, 3, 132}).at(0).second,
      (json{{"info", {{"device", "dimm0"}, {"slot", "1"}, {"slot-type", "DIMM"}, {"source", 3}, {"status", 132}}}}));
  EXPECT_EQ(Translate(OstEvent{"", 1, 3, 0}).at(0).second.at("info").count("device"), 0U);
}

TEST(MachineEvents, AnUnpluggedAccessNamesVcpuRipAndGpa) {
  const auto seen = Translate(UnpluggedAccessEvent{2, 0x10020, Gpa(0x140000000), 8, true, 5});
  EXPECT_EQ(seen.at(0).first, "X_FAULTLINE_UNPLUGGED_ACCESS");
  EXPECT_EQ(
      seen.at(0).second,
      (json{{"vcpu", 2}, {"rip", 0x10020}, {"gpa", 0x140000000}, {"size", 8}, {"write", true}, {"suppressed", 5}}));
}

TEST(MachineEvents, ABrokenDeviceIsNamedWithTheReason) {
  const auto seen = Translate(DeviceBrokenEvent{"virtio-blk", "stopped: a loop"});
  EXPECT_EQ(seen.at(0).first, "X_FAULTLINE_DEVICE_BROKEN");
  EXPECT_EQ(seen.at(0).second, (json{{"device", "virtio-blk"}, {"message", "virtio-blk stopped: a loop"}}));
}

}  // namespace
}  // namespace faultline
