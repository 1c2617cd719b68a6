#include "vmm/storm/host_charge.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>

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

// Whether all of `range` is registered with a userfaultfd ("um"). True if the host does not say.
// Source: Documentation/filesystems/proc.rst, VmFlags.
bool IsRegistered(HvaRange range) {
  std::ifstream smaps("/proc/self/smaps");
  if (!smaps) return true;
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t reached = range.start.value;
  for (std::string line; std::getline(smaps, line);) {
    const auto first = static_cast<unsigned char>(line.empty() ? ' ' : line.front());
    if (std::isxdigit(first) != 0 && std::isupper(first) == 0) {  // "7f12a000-7f12b000 rw-p ..."; else "Key: ..."
      if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64, &start, &end) != 2) return true;
    } else if (line.starts_with("VmFlags:") && start <= reached && reached < end) {
      if (line.find(" um") == std::string::npos) return false;
      reached = end;
      if (reached >= range.end().value) return true;
    }
  }
  return false;
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
  const Bytes charged = In(range);
  // What is guest memory now was that before, too: an address that was unmapped does not become guest memory again.
  return charged.value != 0 && IsRegistered(range) ? charged : Bytes(0);
}

}  // namespace faultline
