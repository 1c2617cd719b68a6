// Which memory is plugged where: names, slots and places, and what is being done to each.
//
// Pure bookkeeping without threads or host memory; PluggedMemory owns it and guards it with its lock.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "guestmem/backing.h"
#include "guestmem/types.h"
#include "vmm/machine/config.h"
#include "vmm/machine/machine.h"

namespace faultline {

// The names of boot memory's regions; no device can take them.
inline constexpr char kBootRegion[] = "boot";
inline constexpr char kHighBootRegion[] = "boot-high";

// An unplug that has been asked for and has not ended.
struct PendingUnplug {
  uint64_t operation = 0;
  std::chrono::steady_clock::time_point since;
  UnplugStage stage = UnplugStage::kQueued;
  bool force = false;
  bool guest_initiated = false;
  std::optional<std::chrono::steady_clock::time_point> deadline;
  std::chrono::nanoseconds timeout{0};  // what the deadline was made of, for messages
  std::chrono::nanoseconds pin_deadline{0};
  std::vector<Machine::UnplugDone> done;

  bool asked = false;    // the eject request stands in the guest's registers
  bool ejected = false;  // the guest let go
  std::optional<OstEvent> refusal;
  bool withdrawn = false;
  std::optional<std::chrono::steady_clock::time_point> answered;  // ejected or refused
};

struct MemoryDevice {
  enum class Phase : uint8_t {
    kPlugging,    // reserved; not yet the guest's
    kPlugged,     // in use
    kUnplugging,  // `pending` says how far
    kRemoving,    // being taken away; no way back but failure
  };

  std::string id;
  unsigned slot = 0;
  unsigned node = 0;
  GpaRange gpa;
  BackingSpec backing;
  RegionId region;  // changes when an unplug is rolled back
  Phase phase = Phase::kPlugging;
  std::optional<PendingUnplug> pending;
  // A request was withdrawn after the guest may have seen it: it may still follow it, too late.
  bool late_eject_possible = false;
  std::optional<uint32_t> insert_status;  // see MemoryDeviceInfo
  bool hotplugged = true;                 // likewise
};

class MemoryDeviceTable {
 public:
  MemoryDeviceTable(const MemoryConfig& config, const MemoryLayout& layout);

  // Checks the request, chooses slot and place, and enters the device as kPlugging. Throws UsageError for
  // whatever PlugMemory documents; nothing has changed then. The reference stays valid until Erase.
  MemoryDevice& Reserve(const PlugRequest& request);
  void Erase(const std::string& id) { devices_.erase(id); }

  MemoryDevice* Find(const std::string& id);
  MemoryDevice* FindSlot(unsigned slot);  // plugged ones only: no guest knows the others
  std::map<std::string, MemoryDevice>& devices() { return devices_; }
  const std::map<std::string, MemoryDevice>& devices() const { return devices_; }

 private:
  void CheckSize(const PlugRequest& request) const;
  void CheckBacking(const PlugRequest& request, const BackingSpec& backing) const;
  unsigned ChooseSlot(const PlugRequest& request) const;
  Gpa ChooseAddress(const PlugRequest& request) const;
  Bytes Plugged() const;

  MemoryConfig config_;
  MemoryLayout layout_;
  std::map<std::string, MemoryDevice> devices_;
};

}  // namespace faultline
