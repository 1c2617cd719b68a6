// What QMP commands may do with a virtual machine. Machine behind it in the program, a fake in tests.
//
// Owned by the program; used on the control thread. Operations throw UsageError or Error as Machine's do
// (vmm/machine/machine.h), and block no longer than its.
#pragma once

#include <chrono>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "devices/virtio/balloon.h"
#include "guestmem/latency_histogram.h"
#include "vmm/control/auto_memory.h"
#include "vmm/control/card_backends.h"
#include "vmm/control/host_pressure.h"
#include "vmm/control/inventory.h"
#include "vmm/control/memory_backends.h"
#include "vmm/control/migration.h"
#include "vmm/control/named_descriptors.h"
#include "vmm/machine/machine.h"

namespace faultline {

class VmControl {
 public:
  // What the program around the machine knows.
  struct Surroundings {
    std::string console;  // "stdio", "pty:/dev/pts/3", "socket:/path"
    // What a guest's reboot does, of a VM that `faultline` runs; none: something else started it, and describes it.
    std::optional<bool> restart_on_reboot = std::nullopt;
    std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
    Inventory inventory;
  };

  virtual ~VmControl() = default;

  virtual const MachineConfig& config() const = 0;
  virtual const Surroundings& surroundings() const = 0;
  virtual MachineStatus Status() const = 0;
  virtual std::vector<MemoryDeviceInfo> MemoryDevices() const = 0;
  virtual void MergeFaultLatency(LatencyHistogram& into) const = 0;

  virtual void Pause() = 0;
  virtual void Resume() = 0;
  virtual void RequestShutdown() = 0;
  // The machine starts anew: running if it ran, otherwise paused; what is plugged stays plugged.
  virtual void Reset() = 0;
  // Ends machine and program, after the reply to whoever asked is on its way.
  virtual void Quit() = 0;

  virtual MemoryDeviceInfo PlugMemory(const PlugRequest& request) = 0;
  // The outcome arrives as an event. Returns the operation's number.
  virtual uint64_t UnplugMemory(const UnplugRequest& request) = 0;
  virtual std::vector<UnplugOperationInfo> MemoryOperations() const = 0;
  virtual void CancelUnplug(uint64_t operation) = 0;

  virtual std::vector<VirtioMemInfo> VirtioMemDevices() const = 0;
  virtual std::vector<MemoryMapInfo> MemoryMaps(size_t cells) const = 0;
  virtual void ResizeVirtioMem(const std::string& id, Bytes requested) = 0;
  // Null without one. Good until the next call: a restarted machine has another.
  virtual Balloon* balloon() = 0;

  // See Machine. That a card is gone arrives as an event.
  virtual void PlugCard(const Card& card) = 0;
  virtual void UnplugCard(const std::string& id) = 0;
  virtual DeviceConfig Devices() const = 0;

  // See Migration. While one is under way, and before a machine made to be restored is, operations that change the
  // machine are UsageErrors.
  virtual void Save(FileDescriptor out) = 0;
  virtual void Restore(FileDescriptor in) = 0;
  virtual void CancelMigration() = 0;
  virtual MigrationInfo MigrationState() const = 0;

  MemoryBackends& backends() { return backends_; }
  CardBackends& cards() { return cards_; }
  AutoMemory& auto_memory() { return auto_memory_; }
  NamedDescriptors& descriptors() { return descriptors_; }

  // What a save may write in a second.
  static constexpr Bytes kNoLimit{std::numeric_limits<int64_t>::max()};
  Bytes migration_rate() const { return migration_rate_; }
  void set_migration_rate(Bytes rate) { migration_rate_ = rate; }

 private:
  MemoryBackends backends_;
  CardBackends cards_;
  AutoMemory auto_memory_{[] { return HostMemoryPressure(); }};
  NamedDescriptors descriptors_;
  Bytes migration_rate_ = kNoLimit;
};

}  // namespace faultline
