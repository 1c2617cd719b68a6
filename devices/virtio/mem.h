// The host's side of a virtio-mem device: how much of its region the guest should use, and how much it does.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "devices/pci/pci_function.h"
#include "devices/virtio/devices.h"
#include "guestmem/types.h"

namespace faultline {

struct VirtioMemConfig {
  std::string id;       // names the device's memory, and the device in messages
  GpaRange region;      // all it can ever plug; start and size are multiples of `block`
  Bytes block = 2_MiB;  // the unit of plugging: a power of two, 2 MiB at least
  Bytes requested;      // what the guest should use from the start; a multiple of `block`
  BackingSpec backing;  // anonymous, memfd or hugetlb
  // The plugged size has changed: called on the device's thread, with no lock held.
  std::function<void(Bytes plugged)> on_change;
};

struct VirtioMemState {
  bool driver = false;  // the guest has a driver, which is running
  Bytes requested;
  Bytes plugged;
  uint64_t plug_requests = 0;  // of the guest, done
  uint64_t unplug_requests = 0;
  uint64_t failures = 0;     // requests that the host could not follow; the guest was told to try again
  std::string last_failure;  // one sentence on the last of them
};

// Thread-safe; lives as long as the function it is a part of. Takes the device's lock, never for long.
class VirtioMem {
 public:
  virtual ~VirtioMem() = default;

  virtual const VirtioMemConfig& config() const = 0;
  // Asks the guest to use `requested` bytes of the region; it follows when and as far as it can. UsageError when
  // that is no multiple of the block size or more than the region holds.
  virtual void Resize(Bytes requested) = 0;
  virtual VirtioMemState state() const = 0;
};

struct VirtioMemDevice {
  std::unique_ptr<PciFunction> function;
  VirtioMem& mem;  // a part of `function`
};
// Memory that comes and goes in blocks (virtio 1.2 §5.15). UsageError when the config makes no device.
VirtioMemDevice MakeVirtioMem(VirtioMemConfig config, const VirtioEnvironment& environment);

}  // namespace faultline
