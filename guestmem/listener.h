// The seam between guest memory and whoever maps it into a guest (the memslot manager of a VMM, a test).
#pragma once

#include <string>

#include "guestmem/types.h"

namespace faultline {

// What a listener learns of a region. Valid for the duration of the call.
struct RegionView {
  RegionId id;
  std::string_view name;
  GpaRange gpa;
  HvaRange hva;
  bool read_only = false;
};

// Called by GuestMemory's control path, never by a fault, with the control lock held: a listener must
// not call back into Plug or Unplug. The calls for one region come in the order
// OnPlug, then OnRevoke, then OnUnmap; calls for different regions never overlap.
class RegionListener {
 public:
  virtual ~RegionListener() = default;

  // The host range is mapped and registered for userfaults and the region is about to be published.
  // Throws Error to refuse: the plug is then undone and leaves no trace.
  virtual void OnPlug(const RegionView& region) = 0;

  // The region is about to be dead-marked: from now on an access may fail with EFAULT. vCPUs that see one
  // wait until OnUnmap or OnRestore was called.
  virtual void OnRevoke(const RegionView& region) noexcept = 0;

  // Ends every guest access to the range (KVM: deletes the memslot). May block until running vCPUs left
  // the range, but needs no fault in it to be served. Throws Error if the range is still mapped: the
  // unplug is then rolled back and OnRestore follows.
  virtual void OnUnmap(const RegionView& region) = 0;

  // The unplug was rolled back after OnRevoke: the region lives on, under the id in `region`.
  virtual void OnRestore(RegionId old_id, const RegionView& region) noexcept = 0;
};

// For guest memory that nobody maps: host threads only.
class NullListener final : public RegionListener {
 public:
  void OnPlug(const RegionView& /*region*/) override {}
  void OnRevoke(const RegionView& /*region*/) noexcept override {}
  void OnUnmap(const RegionView& /*region*/) override {}
  void OnRestore(RegionId /*old_id*/, const RegionView& /*region*/) noexcept override {}
};

}  // namespace faultline
