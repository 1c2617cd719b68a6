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

}  // namespace faultline
