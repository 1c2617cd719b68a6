// A paused machine written down whole, and a machine like it brought to that point.
//
// Free functions for any one thread; both block for the stream and for as long as the memory takes (about a second a
// GiB). Throw Error or UsageError as documented.
#pragma once

#include <atomic>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>

namespace faultline {

class Machine;
class SnapshotReader;
class SnapshotWriter;

// How far it is, for other threads. Bytes of guest memory.
struct SaveProgress {
  std::atomic<uint64_t> total{0};
  std::atomic<uint64_t> done{0};
};

// The machine stays as it is, and paused: see Machine::SaveState for what it must be. UsageError when it cannot be
// saved as it is now.
void SaveMachine(Machine& machine, SnapshotWriter& out, SaveProgress& progress);

// `state` is what `in.ReadState` gave. The machine was made with `incoming`, has not been started and matches what was
// saved; otherwise UsageError. A machine whose restore failed must not be started.
void RestoreMachine(Machine& machine, const nlohmann::json& state, SnapshotReader& in);

}  // namespace faultline
