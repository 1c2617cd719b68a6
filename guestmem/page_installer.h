// How a page gets into, and a blocked fault out of, the host range of a region: the seam between the
// fault protocol and the host's userfault interface.
#pragma once

#include "guestmem/types.h"

namespace faultline {

enum class InstallResult : uint8_t {
  kInstalled,
  kExists,    // a page of the range is there already
  kGone,      // the range is not mapped any more
  kBusy,      // the address space is changing; try again
  kNoMemory,  // the host has no page to give
  kFailed,    // anything else
};

struct Installed {
  InstallResult result = InstallResult::kInstalled;
  Bytes done;  // installed from the start of the range, also when the result is not kInstalled
};

// Thread-safe; never waits for an unplug. One for each region, owned by it.
class PageInstaller {
 public:
  virtual ~PageInstaller() = default;

  // Copies `size` bytes to the absent pages at `to` and wakes who waits for them. Stops at the first page
  // that cannot be installed. Granule-aligned; called with the leaf lock held, so it must not wait.
  virtual Installed Copy(Hva to, const std::byte* from, Bytes size) noexcept = 0;

  // Fills the absent, kLeafSpan-aligned stretch at `to` with zeroes by means of a huge page, and wakes who
  // waits there. Returns how much it filled from the start: nothing where that cannot be done.
  virtual Bytes FillHuge(Hva /*to*/) noexcept { return {}; }

  // Has faults blocked on the range look again.
  virtual void Wake(HvaRange range) noexcept = 0;

  // Makes absent pages inaccessible and wakes who waits for them: their access fails with EFAULT, as
  // does any later one until Restore. Takes no lock that a fault elsewhere needs. 0 or -errno.
  virtual int Revoke(HvaRange range) noexcept = 0;

  // Undoes every Revoke in the range. May block.
  virtual int Restore(HvaRange range) noexcept = 0;
};

}  // namespace faultline
