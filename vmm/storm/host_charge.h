// What the host really has in memory for a range of this process: measured in /proc/self/pagemap, because
// the books cannot vouch for themselves.
#pragma once

#include "guestmem/host.h"
#include "guestmem/types.h"

namespace faultline {

// Used by one thread at a time. Blocks for system calls only.
class HostCharge {
 public:
  // Throws Error when the host does not show its page map.
  explicit HostCharge(Host& host);

  // Bytes of `range` that are in memory or in swap. 0 for what is not mapped.
  Bytes In(HvaRange range) const;
  // The same for guest memory that may have been unmapped since: 0 unless its faults still go to a userfaultfd
  // after the count, as its addresses may belong to somebody else by now, to a thread's stack for one. No guest
  // memory may be plugged meanwhile.
  Bytes InRemains(HvaRange range) const;

 private:
  Host* host_;
  FileDescriptor pagemap_;
};

}  // namespace faultline
