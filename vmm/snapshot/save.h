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

// How far it is, for other threads, in bytes. `total` of guest memory is known when saving only.
struct SaveProgress {
  std::atomic<uint64_t> total{0};
  std::atomic<uint64_t> done{0};
  std::atomic<uint64_t> transferred{0};  // of the stream

  void Clear() {
    for (std::atomic<uint64_t>* count : {&total, &done, &transferred}) count->store(0, std::memory_order_relaxed);
  }
};

// The machine stays as it is, and paused: see Machine::SaveState for what it must be. UsageError when it cannot be
// saved as it is now.
void SaveMachine(Machine& machine, SnapshotWriter& out, SaveProgress& progress);

// `state` is what `in.ReadState` gave. The machine was made with `incoming`, has not been started and matches what was
// saved; otherwise UsageError. A machine whose restore failed must not be started.
void RestoreMachine(Machine& machine, const nlohmann::json& state, SnapshotReader& in, SaveProgress& progress);

}  // namespace faultline
