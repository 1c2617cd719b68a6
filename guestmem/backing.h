// What host memory stands behind a region: private anonymous memory, a memfd, huge pages, or a file.
#pragma once

#include <memory>
#include <string>

#include "guestmem/host.h"
#include "guestmem/types.h"

namespace faultline {

enum class BackingKind : uint8_t { kAnonymous, kMemfd, kHugetlb, kFile };

struct BackingSpec {
  BackingKind kind = BackingKind::kAnonymous;
  std::string path;  // kFile: the file, created when absent and grown to size
};

// "anonymous", "memfd", "hugetlb", "file:PATH"; throws UsageError on anything else.
BackingSpec ParseBackingSpec(std::string_view text);
std::string ToString(const BackingSpec& spec);

// One mapped stretch of host memory. Created mapped and empty; unmapped by the destructor. The owner is
// a Region. Discard may run while other threads fault in the range; everything else is for one thread.
class Backing {
 public:
  // Throws Error naming the backing and what the host said.
  static std::unique_ptr<Backing> Create(Host& host, const BackingSpec& spec, Bytes size);
  virtual ~Backing() = default;

  HvaRange range() const { return range_; }
  // The smallest unit that can be installed or discarded, in bytes: the page size, or that of the huge page.
  Bytes granule() const { return granule_; }
  // True when a transparent huge page may be moved in: private anonymous memory.
  virtual bool accepts_huge_pages() const { return false; }
  // False when the kernel fills missing pages by itself (a file on disk): no userfault ever comes.
  bool userfault_capable() const { return userfault_capable_; }

  // Gives the pages of `part` (granule-aligned, inside range()) back to the host. 0 or -errno. Holds no
  // lock that a fault elsewhere waits for longer than one call: callers pass bounded parts.
  virtual int Discard(HvaRange part) noexcept = 0;

 protected:
  Backing(HvaRange range, Bytes granule, bool userfault_capable)
      : range_(range), granule_(granule), userfault_capable_(userfault_capable) {}

  HvaRange range_;
  Bytes granule_;
  bool userfault_capable_;
};

}  // namespace faultline
