// What a machine tells the outside as it happens.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>

#include "guestmem/guest_memory.h"
#include "guestmem/types.h"

namespace faultline {

enum class RunState : uint8_t { kPrelaunch, kRunning, kPaused, kExited };

enum class PauseReason : uint8_t {
  kRequested,        // Pause()
  kUnpluggedAccess,  // policy `stop`
  kIoError,          // a page could not be had: its source failed, or the host is out of memory
};

std::string_view ToString(RunState state);      // QEMU's words: "prelaunch", "running", "paused", "shutdown"
std::string_view ToString(PauseReason reason);  // "requested", "unplugged-access", "io-error"

enum class ExitKind : uint8_t {
  kGuestHalt,  // the guest ended itself: powered off, or `code` is what it wrote to the debug-exit port
  kShutdown,   // the guest followed RequestShutdown
  kReboot,     // the guest reset the machine
  kPanic,      // the guest's kernel told of its panic
  kCrash,      // triple fault, or something KVM could not run
  kError,      // the machine itself failed
  kKilled,     // Stop()
};

// ExitStatus::code of the kinds that have one of their own. Even: what comes of the debug-exit port is odd, or 0.
namespace exit_code {
inline constexpr int kFailure = 1;
inline constexpr int kReboot = 4;
inline constexpr int kPanic = 6;
inline constexpr int kTripleFault = 8;
inline constexpr int kCannotRun = 10;  // an instruction or a state that KVM cannot run
}  // namespace exit_code

struct ExitStatus {
  ExitKind kind = ExitKind::kKilled;
  int code = 0;          // what `faultline run` exits with: 0 for a clean end
  std::string sentence;  // for the person at the terminal
};

enum class UnplugOutcome : uint8_t {
  kDone,       // the memory is back at the host
  kRefused,    // the guest said no; `ost_status` is its code
  kTimedOut,   // the guest did not answer within the deadline
  kFailed,     // it could not be taken away: pinned, or the host refused
  kWithdrawn,  // CancelUnplug
  kCancelled,  // the machine ended first
};

// How far an unplug has come.
enum class UnplugStage : uint8_t {
  kQueued,    // other unplugs are before it
  kAsked,     // the request stands in the guest's registers; the guest has not looked
  kNoticed,   // the guest has seen the request
  kEmptying,  // the guest said that it is at it (_OST: ejection in progress)
  kRemoving,  // the guest let go, or was not asked: the host takes the memory away
};

std::string_view ToString(UnplugOutcome outcome);  // "done", "refused", "timed-out", …
std::string_view ToString(UnplugStage stage);      // "queued", "asked", "noticed", "emptying", "removing"

// Unless kDone, the memory is fully usable again and may be unplugged anew.
struct UnplugResult {
  std::string id;
  uint64_t operation = 0;  // as Machine::UnplugMemory returned it; one that the guest began has a number, too
  GpaRange gpa;
  UnplugOutcome outcome = UnplugOutcome::kDone;
  bool forced = false;
  UnplugStage stage = UnplugStage::kQueued;  // the last one it reached
  uint64_t guest_ns = 0;                     // from the request to the guest's answer, or the end without one
  std::string reason;                        // empty when kDone, otherwise one sentence
  std::optional<uint32_t> ost_status;        // what the guest reported, if it did (ACPI 6.5 §6.3.5)
  UnplugReport report;                       // kDone
};

struct PausedEvent {
  PauseReason reason;
  std::string sentence;
};
struct ResumedEvent {};
// RequestShutdown reached the guest.
struct PowerdownEvent {};
struct ExitedEvent {
  ExitStatus status;
};
struct MemoryPluggedEvent {
  std::string id;
  unsigned slot;
  GpaRange gpa;
};
// An unplug ended, well or not; also one that the guest began itself.
struct MemoryUnplugEvent {
  unsigned slot;
  UnplugResult result;
};
// An unplug came a stage further.
struct MemoryProgressEvent {
  uint64_t operation;
  std::string id;
  unsigned slot;
  UnplugStage stage;
};
// The guest evaluated _OST for a slot (ACPI 6.5 §6.3.5).
struct OstEvent {
  std::string id;  // empty when the slot holds nothing any more
  unsigned slot;
  uint32_t event;
  uint32_t status;
};
// `rip` is the guest's instruction pointer as KVM reports it: of the instruction for a read, of the one after
// it for a write. `suppressed` accesses went unreported since the last event.
struct UnpluggedAccessEvent {
  unsigned vcpu;
  uint64_t rip;
  Gpa gpa;
  unsigned size;
  bool write;
  uint64_t suppressed;
};

// A device does nothing more until its driver resets it.
struct DeviceBrokenEvent {
  std::string device;
  std::string sentence;  // why; `device` is its subject
};
// A virtio-mem device has that much plugged now.
struct VirtioMemSizeEvent {
  std::string id;
  Bytes plugged;
};
// The balloon's size changed: the guest keeps `actual` of boot memory and DIMMs.
struct BalloonEvent {
  Bytes actual;
};

// A card is gone: the guest gave it up, asked or by itself.
struct CardUnpluggedEvent {
  std::string id;
};

using MachineEvent = std::variant<PausedEvent, ResumedEvent, PowerdownEvent, ExitedEvent, MemoryPluggedEvent,
                                  MemoryUnplugEvent, MemoryProgressEvent, OstEvent, UnpluggedAccessEvent,
                                  DeviceBrokenEvent, VirtioMemSizeEvent, BalloonEvent, CardUnpluggedEvent>;

// Called from any thread, vCPUs' among them, several at once, with no lock held. Must return soon and must not
// call a blocking operation of Machine (those that say so).
using MachineEventSink = std::function<void(const MachineEvent&)>;

}  // namespace faultline
