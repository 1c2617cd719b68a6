// The blocks of a virtio-mem device: which of them the guest has, and the memory behind each.
//
// Each plugged block is a region of guest memory of its own. Plugging and unplugging a block are therefore the
// plug and unplug of GuestMemory, with all they promise while vCPUs fault on the block and beside it; an access
// to a block that is not plugged meets no memory, as an access to any hole does.
//
// Owned by the device, used on its thread alone. Plug and Unplug block as GuestMemory's do.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "guestmem/backing.h"
#include "guestmem/guest_memory.h"
#include "guestmem/types.h"

namespace faultline {

class MemBlocks {
 public:
  struct Layout {
    std::string name;  // of the memory, for messages
    GpaRange region;   // whole blocks
    Bytes block;
    BackingSpec backing;
  };
  MemBlocks(GuestMemory& memory, Layout layout);

  // Block numbers [first, first + count), or nothing unless the stretch is made of whole blocks of the region.
  struct Run {
    size_t first = 0;
    size_t count = 0;
  };
  std::optional<Run> Find(Gpa start, uint64_t count) const;
  Run all() const { return {0, plugged_.size()}; }

  bool AllPlugged(Run run) const;
  bool NonePlugged(Run run) const;
  Bytes plugged() const { return layout_.block * plugged_count_; }

  // Both do all of the run or, throwing Error, nothing that the guest could tell from nothing: after a failed
  // Unplug all blocks are plugged still, but may have lost their content, which the guest had given up.
  // Plug: no block of the run is plugged. Unplug: blocks of the run that are not plugged are passed over. When
  // Unplug returns, the host has the memory.
  void Plug(Run run);
  void Unplug(Run run);

 private:
  Gpa StartOf(size_t block) const { return layout_.region.start + layout_.block * block; }
  RegionId PlugBlock(size_t block);

  GuestMemory& memory_;
  const Layout layout_;
  std::vector<bool> plugged_;      // as the guest sees it
  std::vector<RegionId> regions_;  // none where not plugged, or where memory could not be had back
  size_t plugged_count_ = 0;
};

}  // namespace faultline
