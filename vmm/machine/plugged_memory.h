// The memory that comes and goes: plugs it, asks the guest for it back, takes it away.
//
// Owned by the machine. Thread-safe. Plug blocks for the host and KVM; all else only enters work for the one
// worker thread, which speaks with the guest through the hot-plug registers and is the only one that unplugs.
// Lock: kMachine, never held across a call to GuestMemory, the event sink or a completion.
#pragma once

#include <deque>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "devices/memory_hotplug.h"
#include "guestmem/guest_memory.h"
#include "guestmem/mutex.h"
#include "vmm/machine/config.h"
#include "vmm/machine/events.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/memory_device_table.h"

namespace faultline {

class PluggedMemory final : private MemoryHotplugListener {
 public:
  // `memory` and `sink` outlive this. `wake` makes the guest look at the registers; it must not block.
  PluggedMemory(GuestMemory& memory, const MemoryConfig& config, const MemoryLayout& layout, std::function<void()> wake,
                const MachineEventSink& sink);
  // Ends what is under way as kCancelled. No vCPU runs any more.
  ~PluggedMemory();

  // The guest's side, for the port bus.
  MemoryHotplug& registers() { return registers_; }

  // See Machine for all four.
  MemoryDeviceInfo Plug(const PlugRequest& request) EXCLUDES(mutex_);
  uint64_t Unplug(const UnplugRequest& request, Machine::UnplugDone done) EXCLUDES(mutex_);
  std::vector<UnplugOperationInfo> Operations() const EXCLUDES(mutex_);
  void CancelUnplug(uint64_t operation) EXCLUDES(mutex_);

  // Cancel, and blocks until the worker thread has ended: no plug or unplug is under way afterwards.
  void Close() EXCLUDES(mutex_);
  // The machine has ended: what waits for the guest ends as kCancelled, further requests are UsageErrors.
  // Does not block.
  void Cancel() EXCLUDES(mutex_);

  std::vector<MemoryDeviceInfo> List() const EXCLUDES(mutex_);

  // What is plugged, and what the guest was told of it. UsageError while a plug or an unplug is under way.
  nlohmann::json SaveState() const EXCLUDES(mutex_);
  // Plugs what is not plugged already, before any vCPU ran. UsageError when other memory is plugged.
  void RestoreState(const nlohmann::json& state) EXCLUDES(mutex_);

 private:
  using Clock = std::chrono::steady_clock;

  // What the worker does next, decided under the lock and done without it.
  struct Step {
    enum class Kind : uint8_t { kNone, kAsk, kRemove, kRollBack, kCancel };
    Kind kind = Kind::kNone;
    std::string id;
    unsigned slot = 0;
    RegionId region;
    std::chrono::nanoseconds pin_deadline{0};
    UnplugResult result;
    std::vector<Machine::UnplugDone> done;  // once the unplug is over
  };

  void OnEject(unsigned slot) override;
  void OnRequestSeen(unsigned slot) override;
  void OnOst(unsigned slot, uint32_t event, uint32_t status) override;
  void OnEventRaised() override { wake_(); }

  void Work();
  void Do(Step step) EXCLUDES(mutex_);
  void Remove(Step step) EXCLUDES(mutex_);
  // Enters an unplug of `device`, which is plugged.
  PendingUnplug& BeginLocked(MemoryDevice& device) REQUIRES(mutex_);
  UnplugOperationInfo OperationLocked(const MemoryDevice& device) const REQUIRES(mutex_);
  // Emits that the unplug has come to `stage`.
  void ReportProgress(const Step& step, UnplugStage stage) const EXCLUDES(mutex_);
  // The unplug is over: the device is erased, or as it was before.
  void EndLocked(MemoryDevice& device, Step& step) REQUIRES(mutex_);
  void Report(const Step& step) const EXCLUDES(mutex_);
  Step NextStepLocked() REQUIRES(mutex_);
  std::optional<Step> StepForLocked(MemoryDevice& device) REQUIRES(mutex_);
  std::optional<Clock::time_point> NextDeadlineLocked() const REQUIRES(mutex_);
  void StartWorkerLocked() REQUIRES(mutex_);
  void CheckOpenLocked() const REQUIRES(mutex_);
  MemoryDeviceInfo InfoLocked(const MemoryDevice& device) const REQUIRES(mutex_);
  void Emit(const MachineEvent& event) const {
    if (*sink_) (*sink_)(event);
  }

  GuestMemory* memory_;
  const std::function<void()> wake_;
  const MachineEventSink* sink_;
  MemoryHotplug registers_;

  mutable RankedMutex<LockRank::kMachine> mutex_;
  CondVar changed_;
  MemoryDeviceTable table_ GUARDED_BY(mutex_);
  bool cancelled_ GUARDED_BY(mutex_) = false;
  bool closing_ GUARDED_BY(mutex_) = false;
  uint64_t last_operation_ GUARDED_BY(mutex_) = 0;
  std::deque<UnplugOperationInfo> ended_ GUARDED_BY(mutex_);  // `age` is the time it took
  std::thread worker_ GUARDED_BY(mutex_);                     // begun by the first plug: a VM without one does without
};

}  // namespace faultline
