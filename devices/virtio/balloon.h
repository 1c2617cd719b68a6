// The host's side of a memory balloon: what it asks of the guest, and what it knows.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "devices/pci/pci_function.h"
#include "devices/virtio/devices.h"
#include "guestmem/types.h"

namespace faultline {

struct BalloonConfig {
  Bytes target;                // what the guest is asked to give up from the start; whole pages
  bool deflate_on_oom = true;  // the guest may take memory back by itself before it kills processes
  bool reporting = true;       // the guest tells of free pages as they become free
  // What the guest gave up has changed: called on the device's thread, with no lock held.
  std::function<void(Bytes held)> on_change;
};

struct BalloonState {
  bool driver = false;  // the guest has a driver, which is running
  Bytes target;         // asked of the guest
  Bytes held;           // the guest's word for how much it gave up
  Bytes returned;       // pages given back to the host, over the life of the device, by inflating
  Bytes reported;       // the same, by free-page reporting and hinting
  Bytes refused;        // in ranges that the host did not take back
  uint64_t host_calls = 0;
  bool hinting = false;  // a round that StartHinting began is under way
};

// Statistics by tag (virtio 1.2 §5.5.6.3); sizes in bytes.
struct BalloonStatistics {
  static constexpr unsigned kTags = 16;
  std::array<std::optional<uint64_t>, kTags> values;
  std::chrono::system_clock::time_point updated;  // the epoch when there never were any
};

// Thread-safe; lives as long as the function it is a part of. Takes the device's lock and blocks for no longer
// than the device serves a request.
class Balloon {
 public:
  virtual ~Balloon() = default;

  // Asks the guest to give up `target`, rounded down to pages and bounded by what 32 bits of pages hold.
  virtual void SetTarget(Bytes target) = 0;
  virtual BalloonState state() const = 0;
  virtual BalloonStatistics statistics() const = 0;
  // Asks for new statistics that often; zero stops asking.
  virtual void SetStatisticsInterval(std::chrono::seconds interval) = 0;
  virtual std::chrono::seconds statistics_interval() const = 0;
  // Asks the guest once to tell of all its free memory, which goes back to the host. False when the driver
  // cannot, or is at it already.
  virtual bool StartHinting() = 0;
};

struct VirtioBalloonDevice {
  std::unique_ptr<PciFunction> function;
  Balloon& balloon;  // a part of `function`
};
// A memory balloon (virtio 1.2 §5.5): inflating, free-page reporting and hinting, statistics.
VirtioBalloonDevice MakeVirtioBalloon(BalloonConfig config, const VirtioEnvironment& environment);

}  // namespace faultline
