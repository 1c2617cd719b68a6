#include "vmm/storm/host_charge.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <vector>

#include "guestmem/error.h"

namespace faultline {
namespace {

// Documentation/admin-guide/mm/pagemap.rst
constexpr uint64_t kPresent = 1ULL << 63;
constexpr uint64_t kSwapped = 1ULL << 62;
constexpr uint64_t kGuard = 1ULL << 58;  // Linux 6.15

// Markers (guard, userfaultfd) look like swap entries of a type beyond any swap file.
constexpr uint64_t kSwapTypeMask = 0x1f;
constexpr uint64_t kMaxSwapFiles = 23;

bool IsCharged(uint64_t entry) {
  if ((entry & kPresent) != 0) return true;
  return (entry & kSwapped) != 0 && (entry & kGuard) == 0 && (entry & kSwapTypeMask) < kMaxSwapFiles;
}

}  // namespace

HostCharge::HostCharge(Host& host) : host_(&host) {
  const int fd = host.Open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) {
    throw Error("cannot open /proc/self/pagemap (" + ErrnoText(-fd) +
                "): the storm needs it to see what memory the host has given; mount /proc");
  }
  pagemap_ = FileDescriptor(host, fd);
}

Bytes HostCharge::In(HvaRange range) const {
  std::array<uint64_t, 4096> entries;
  uint64_t page = range.start.value / kPageSize.value;
  const uint64_t end = range.end().value / kPageSize.value;
  uint64_t charged = 0;
  while (page < end) {
    const size_t count = std::min<uint64_t>(entries.size(), end - page);
    const int64_t got =
        host_->Pread(pagemap_.get(), entries.data(), count * sizeof(uint64_t), Bytes(page * sizeof(uint64_t)));
    if (got <= 0) break;
    const auto read = static_cast<size_t>(got) / sizeof(uint64_t);
    charged += static_cast<uint64_t>(std::count_if(entries.begin(), entries.begin() + read, IsCharged));
    page += read;
  }
  return kPageSize * charged;
}

Bytes HostCharge::InRemains(HvaRange range) const {
  std::vector<unsigned char> residency(range.size / kPageSize);
  if (mincore(ToPointer(range.start), range.size.value, residency.data()) != 0) return Bytes(0);
  return In(range);
}

}  // namespace faultline
