#include "vmm/machine/events.h"

namespace faultline {

std::string_view ToString(RunState state) {
  switch (state) {
    case RunState::kPrelaunch:
      return "prelaunch";
    case RunState::kRunning:
      return "running";
    case RunState::kPaused:
      return "paused";
    case RunState::kExited:
      return "shutdown";
  }
  return "";
}

std::string_view ToString(PauseReason reason) {
  switch (reason) {
    case PauseReason::kRequested:
      return "requested";
    case PauseReason::kUnpluggedAccess:
      return "unplugged-access";
    case PauseReason::kIoError:
      return "io-error";
  }
  return "";
}

std::string_view ToString(UnplugOutcome outcome) {
  switch (outcome) {
    case UnplugOutcome::kDone:
      return "done";
    case UnplugOutcome::kRefused:
      return "refused";
    case UnplugOutcome::kTimedOut:
      return "timed-out";
    case UnplugOutcome::kFailed:
      return "failed";
    case UnplugOutcome::kWithdrawn:
      return "withdrawn";
    case UnplugOutcome::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

std::string_view ToString(UnplugStage stage) {
  switch (stage) {
    case UnplugStage::kQueued:
      return "queued";
    case UnplugStage::kAsked:
      return "asked";
    case UnplugStage::kNoticed:
      return "noticed";
    case UnplugStage::kEmptying:
      return "emptying";
    case UnplugStage::kRemoving:
      return "removing";
  }
  return "";
}

}  // namespace faultline
