// One virtual machine: guest memory, vCPUs and devices put together, with the operations a person or a
// management tool performs on it.
//
// Life: constructed (everything set up, no guest instruction run) → Start → running ⇄ paused → exited →
// destroyed; see RunState. All members are thread-safe; "blocks" says for what. A failed operation throws
// UsageError (the request was wrong) or Error (it could not be done) and leaves the machine as it was.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "devices/virtio/mem.h"
#include "guestmem/fault_stats.h"
#include "guestmem/guest_memory.h"
#include "guestmem/host.h"
#include "guestmem/page_source.h"
#include "vmm/machine/config.h"
#include "vmm/machine/events.h"

namespace faultline {

class MemslotTable;

struct PlugRequest {
  std::string id;                      // unique among the plugged ones; not empty
  Bytes size;                          // a multiple of kPlugGranule
  std::optional<unsigned> slot;        // the lowest free one otherwise
  std::optional<Gpa> address;          // inside the window, kPlugGranule-aligned; the first gap that fits otherwise
  unsigned node = 0;                   // NUMA node, below MemoryConfig::nodes
  std::optional<BackingSpec> backing;  // MemoryConfig::backing otherwise; kFile needs one of its own
  std::shared_ptr<PageSource> source;  // null: zeroes
  bool hotplugged = true;              // see MemoryDeviceInfo
};

struct UnplugRequest {
  std::string id;
  bool force = false;  // do not ask the guest
  // How long the guest may take to answer; none: as long as the machine lives. Without force only.
  std::optional<std::chrono::nanoseconds> timeout;
  std::chrono::nanoseconds pin_deadline{std::chrono::seconds(1)};  // how long asynchronous I/O may finish
};

struct MemoryDeviceInfo {
  std::string id;
  unsigned slot = 0;
  unsigned node = 0;
  GpaRange gpa;
  BackingSpec backing;
  Bytes present;  // faulted in so far
  unsigned pins = 0;
  bool unplugging = false;
  bool hotplugged = true;  // false: a part of the VM from its start
  // What the guest said when it was given the memory (_OST of an insertion, ACPI 6.5 table 6.17): 0 is success.
  std::optional<uint32_t> insert_status;
};

// An unplug, under way or one of the last that ended.
struct UnplugOperationInfo {
  uint64_t operation = 0;
  std::string id;
  unsigned slot = 0;
  GpaRange gpa;
  bool forced = false;
  bool guest_initiated = false;
  UnplugStage stage = UnplugStage::kQueued;
  std::chrono::nanoseconds age{0};                    // since it was asked for
  std::optional<std::chrono::nanoseconds> time_left;  // to its deadline, while under way
  std::optional<UnplugResult> result;                 // once it has ended
};

struct VirtioMemInfo {
  std::string id;
  GpaRange region;
  Bytes block;
  BackingSpec backing;
  VirtioMemState state;
  Bytes present;  // of the plugged blocks: faulted in so far
};

// A place where memory is or may come to be: boot memory, a plugged device, the region of a virtio-mem device.
struct MemoryMapInfo {
  std::string id;
  GpaRange gpa;
  ResidencyMap residency;
};

struct VcpuInfo {
  unsigned index = 0;
  int thread_id = 0;  // of the host
};

struct MachineStatus {
  RunState state = RunState::kPrelaunch;
  std::optional<PauseReason> pause_reason;  // while paused
  std::optional<ExitStatus> exit;           // once exited
  Bytes boot_memory;
  Bytes plugged_memory;
  Bytes max_memory;
  unsigned slots = 0;
  unsigned slots_used = 0;
  Bytes present_memory;   // of boot and plugged memory: faulted in so far
  unsigned memslots = 0;  // KVM's view
  Bytes memslot_bytes;
  FaultTotals faults;
  TableTotals tables;
  uint64_t unplugged_accesses = 0;
  std::vector<VcpuInfo> vcpus;
  // Instructions completed for KVM, those that came up: what, and how often.
  std::vector<std::pair<std::string_view, uint64_t>> assists;
};

class Machine {
 public:
  // Sets everything up, the built-in guest loaded. Throws UsageError for a config that Validate refuses, Error
  // when the host refuses something (no /dev/kvm, no userfaultfd, no memory).
  Machine(Host& host, const MachineConfig& config, MachineEventSink sink);
  // Stops whatever still runs. Blocks until the vCPU threads have ended.
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  const MachineConfig& config() const;

  // Lets the vCPUs run, or leaves them paused if the config says so. Once.
  void Start();

  // Blocks until no vCPU executes guest code, whatever it was blocked in. Nothing to do when paused or exited.
  void Pause();
  // Lets the guest go on; faults that failed are tried again. Does not block. UsageError once exited.
  void Resume();
  // Asks the guest to shut down; ExitedEvent follows if it does. Does not block. UsageError once exited.
  void RequestShutdown();
  // Ends the machine as kKilled. Blocks until no vCPU runs. Nothing to do when exited.
  void Stop();
  // Blocks until the machine has exited.
  ExitStatus WaitForExit();

  // Blocks for the host's mapping calls and for KVM's slot update; never for the guest. UsageError: the size
  // is zero, unaligned or more than `max` leaves, the id is taken or empty, the slot or address is taken or
  // outside, no slot is free. Error: the host or KVM refused.
  MemoryDeviceInfo PlugMemory(const PlugRequest& request);

  using UnplugDone = std::function<void(const UnplugResult&)>;
  // Checks the request and returns; the work is done on a thread of the machine, which calls `done` (may be
  // null) and sends MemoryUnplugEvent, both with the same result. UsageError, with `done` not called: unknown
  // id, boot memory, or it is being unplugged already (a forced request overtakes one still waiting for the
  // guest, which then ends with the forced one's result). `done` must not call a blocking operation. Returns the
  // operation's number, by which it can be watched and withdrawn; an overtaken request keeps its own.
  uint64_t UnplugMemory(const UnplugRequest& request, UnplugDone done = nullptr);
  // Those under way, oldest first, and before them the last 16 that have ended.
  std::vector<UnplugOperationInfo> MemoryOperations() const;
  // Withdraws a request that waits for the guest, which then ends as kWithdrawn; a guest that follows it later gets
  // the memory back. Does not block. UsageError: no such operation, it has ended, or the memory is being removed.
  void CancelUnplug(uint64_t operation);

  std::vector<MemoryDeviceInfo> MemoryDevices() const;
  std::vector<VirtioMemInfo> VirtioMemDevices() const;
  // Where pages are, by address, in at most `cells` stretches for each place.
  std::vector<MemoryMapInfo> MemoryMaps(size_t cells) const;
  // Asks the guest to use that much of a virtio-mem device; it follows when and as far as it can, and
  // VirtioMemSizeEvent tells. UsageError for an unknown id, or a size that is not for the device.
  void ResizeVirtioMem(const std::string& id, Bytes requested);
  // Null without one. Lives as long as the machine.
  Balloon* balloon();

  // Puts a disk or a network card into a PCI slot of the running guest, which notices by itself. Blocks to open what is
  // behind it. UsageError: the guest has no PCI, its cards cannot come and go, the id is empty or taken, or the slot is
  // taken or not one for this. Error: the host refused.
  void PlugCard(const Card& card);
  // Asks the guest to give up a disk or a network card, and does not wait; CardUnpluggedEvent tells when it has. May be
  // asked again. UsageError for an unknown id, and for a card that sits where it has to stay.
  void UnplugCard(const std::string& id);
  // The devices there are now, each in its place.
  DeviceConfig Devices() const;

  MachineStatus Status() const;

  // All of a paused machine but the contents of memory: what it is made of, and the state of vCPUs and devices (see
  // saved_state.h). Blocks until no vCPU runs. UsageError unless it is paused or has not run, and when something is
  // under way that cannot be written down: an unplug, an access that waits for an answer.
  nlohmann::json SaveState();
  // The other way, into a machine made with `incoming` that has not run: plugs what was plugged. Memory's contents
  // are the caller's. UsageError when the state is another machine's, Error when it is damaged or the host refuses;
  // the machine is then not fit to run.
  void RestoreState(const nlohmann::json& state);

  // What the user typed: to the guest's serial console. Returns how many bytes it took: fewer than given when
  // the guest does not read (see Serial::kMaxQueuedInput); offer the rest again later. Does not block.
  size_t ConsoleInput(std::span<const std::byte> data);
  // The same for a virtio console with an output of its own; without one the input is dropped.
  size_t VirtioConsoleInput(std::span<const std::byte> data);

  // The parts, for tests and for statistics.
  GuestMemory& memory();
  MemslotTable& memslots();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace faultline
