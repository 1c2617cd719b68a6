#include "vmm/control/machine_events.h"

#include <nlohmann/json.hpp>
#include <string>
#include <variant>

#include "vmm/control/peripherals.h"

namespace faultline {

using nlohmann::json;

namespace {

// QEMU's ShutdownCause.
std::string_view ShutdownReason(ExitKind kind) {
  switch (kind) {
    case ExitKind::kGuestHalt:
    case ExitKind::kShutdown:
      return "guest-shutdown";
    case ExitKind::kReboot:
      return "guest-reset";
    case ExitKind::kPanic:
    case ExitKind::kCrash:
      return "guest-panic";
    case ExitKind::kError:
      return "host-error";
    case ExitKind::kKilled:
      return "host-qmp-quit";
  }
  return "none";
}

json DeviceAndPath(const std::string& id) { return {{"device", id}, {"path", PeripheralPath(id)}}; }

class Translator {
 public:
  explicit Translator(const QmpEmit& emit) : emit_(emit) {}

  void operator()(const PausedEvent& e) const {
    emit_("STOP", json());
    if (e.reason != PauseReason::kRequested) {
      emit_("X_FAULTLINE_STOPPED", {{"reason", ToString(e.reason)}, {"message", e.sentence}});
    }
  }
  void operator()(const ResumedEvent& /*e*/) const { emit_("RESUME", json()); }
  void operator()(const PowerdownEvent& /*e*/) const { emit_("POWERDOWN", json()); }

  void operator()(const ExitedEvent& e) const {
    const bool guest = e.status.kind != ExitKind::kKilled && e.status.kind != ExitKind::kError;
    emit_("SHUTDOWN", {{"guest", guest}, {"reason", ShutdownReason(e.status.kind)}});
    emit_("X_FAULTLINE_EXITED",
          {{"kind", ToString(e.status.kind)}, {"code", e.status.code}, {"message", e.status.sentence}});
  }

  void operator()(const MemoryPluggedEvent& e) const {
    emit_("X_FAULTLINE_MEMORY_PLUGGED",
          {{"id", e.id}, {"slot", e.slot}, {"addr", e.gpa.start.value}, {"size", e.gpa.size.value}});
  }

  void operator()(const MemoryUnplugEvent& e) const {
    const UnplugResult& r = e.result;
    if (r.outcome == UnplugOutcome::kDone) {
      emit_("DEVICE_DELETED", DeviceAndPath(r.id));
    } else if (r.outcome != UnplugOutcome::kCancelled) {
      emit_("DEVICE_UNPLUG_GUEST_ERROR", DeviceAndPath(r.id));
      emit_("MEM_UNPLUG_ERROR", {{"device", r.id}, {"msg", r.reason}});
    }
    json ours = DescribeUnplug(r);
    ours["slot"] = e.slot;
    emit_("X_FAULTLINE_MEMORY_UNPLUG", ours);
  }

  void operator()(const MemoryProgressEvent& e) const {
    emit_("X_FAULTLINE_MEMORY_PROGRESS",
          {{"operation", e.operation}, {"id", e.id}, {"slot", e.slot}, {"stage", ToString(e.stage)}});
  }

  void operator()(const OstEvent& e) const {
    json info{{"slot", std::to_string(e.slot)}, {"slot-type", "DIMM"}, {"source", e.event}, {"status", e.status}};
    if (!e.id.empty()) info["device"] = e.id;
    emit_("ACPI_DEVICE_OST", {{"info", info}});
  }

  void operator()(const VirtioMemSizeEvent& e) const {
    emit_("MEMORY_DEVICE_SIZE_CHANGE", {{"id", e.id}, {"size", e.plugged.value}, {"qom-path", PeripheralPath(e.id)}});
  }
  void operator()(const BalloonEvent& e) const { emit_("BALLOON_CHANGE", {{"actual", e.actual.value}}); }

  void operator()(const CardUnpluggedEvent& e) const { emit_("DEVICE_DELETED", DeviceAndPath(e.id)); }

  void operator()(const UnpluggedAccessEvent& e) const {
    emit_("X_FAULTLINE_UNPLUGGED_ACCESS", {{"vcpu", e.vcpu},
                                           {"rip", e.rip},
                                           {"gpa", e.gpa.value},
                                           {"size", e.size},
                                           {"write", e.write},
                                           {"suppressed", e.suppressed}});
  }

  void operator()(const DeviceBrokenEvent& e) const {
    emit_("X_FAULTLINE_DEVICE_BROKEN", {{"device", e.device}, {"message", e.device + " " + e.sentence}});
  }

 private:
  const QmpEmit& emit_;
};

}  // namespace

json DescribeUnplug(const UnplugResult& r) {
  json result{{"id", r.id},
              {"operation", r.operation},
              {"addr", r.gpa.start.value},
              {"size", r.gpa.size.value},
              {"outcome", ToString(r.outcome)},
              {"stage", ToString(r.stage)},
              {"forced", r.forced},
              {"reason", r.reason},
              {"guest-ns", r.guest_ns}};
  if (r.ost_status) result["ost-status"] = *r.ost_status;
  if (r.outcome == UnplugOutcome::kDone) {
    result["discarded"] = r.report.discarded.value;
    result["tables"] = r.report.tables;
    result["ns"] = {{"revoke", r.report.revoke_ns},
                    {"slot-delete", r.report.slot_delete_ns},
                    {"scan", r.report.scan_ns},
                    {"discard", r.report.discard_ns},
                    {"total", r.report.total_ns}};
  }
  return result;
}

std::string_view ToString(ExitKind kind) {
  switch (kind) {
    case ExitKind::kGuestHalt:
      return "guest-halt";
    case ExitKind::kShutdown:
      return "shutdown";
    case ExitKind::kReboot:
      return "reboot";
    case ExitKind::kPanic:
      return "panic";
    case ExitKind::kCrash:
      return "crash";
    case ExitKind::kError:
      return "error";
    case ExitKind::kKilled:
      return "killed";
  }
  return "unknown";
}

void TranslateMachineEvent(const MachineEvent& event, const QmpEmit& emit) { std::visit(Translator(emit), event); }

}  // namespace faultline
