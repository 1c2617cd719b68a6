#include "guestmem/huge_donor.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "guestmem/clock.h"

#ifndef UFFDIO_MOVE  // Linux 6.8
struct uffdio_move {
  __u64 dst;
  __u64 src;
  __u64 len;
  __u64 mode;
  __s64 move;
};
#define UFFDIO_MOVE _IOWR(UFFDIO, 0x05, struct uffdio_move)
#endif
#ifndef MADV_POPULATE_WRITE  // Linux 5.14
#define MADV_POPULATE_WRITE 23
#endif

namespace faultline {

HugeDonor::~HugeDonor() {
  MutexLock lock(mutex_);
  if (reserved_) host_.Munmap(*reserved_);
}

bool HugeDonor::PrepareLocked() noexcept {
  if (!reserved_) {
    const Bytes size = kLeafSpan * 2;
    const int64_t p = host_.Mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, {});
    if (p < 0) return false;
    reserved_ = HvaRange{Hva(static_cast<uint64_t>(p)), size};
    slot_ = Hva(AlignUp(Bytes(static_cast<uint64_t>(p)), kLeafSpan).value);
    if (host_.Madvise({slot_, kLeafSpan}, MADV_HUGEPAGE) < 0) {
      unsupported_ = true;
      return false;
    }
  }
  // One page is asked for; a host that has a huge page for it gives that.
  return host_.Madvise({slot_, kPageSize}, MADV_POPULATE_WRITE) >= 0;
}

void HugeDonor::LearnCopy(Bytes size, uint64_t ns) noexcept {
  const uint64_t span_ns = ns * (kLeafSpan / kPageSize) / (size / kPageSize);
  const uint64_t mean = copy_ns_.load(std::memory_order_relaxed);
  // Concurrent learners may lose each other's sample: it is a mean.
  copy_ns_.store(mean == 0 ? span_ns : (7 * mean + span_ns) / 8, std::memory_order_relaxed);
}

Bytes HugeDonor::Fill(int userfault_fd, Hva to) noexcept {
  MutexLock lock(mutex_);
  if (unsupported_) return Bytes(0);
  if (declined_ > 0) {
    --declined_;
    return Bytes(0);
  }
  const uint64_t began_ns = NowNs();
  if (!PrepareLocked()) {
    declined_ = kDecline;
    return Bytes(0);
  }
  // The fault that brought us here left an empty page table at `to`, into which only single pages would move;
  // discarding nothing makes the kernel free it (Linux 6.14).
  host_.Madvise({to, kLeafSpan}, MADV_DONTNEED);
  uffdio_move argument{};
  argument.dst = to.value;
  argument.src = slot_.value;
  argument.len = kLeafSpan.value;
  const int result = host_.Ioctl(userfault_fd, UFFDIO_MOVE, &argument);
  if (result >= 0) {
    const uint64_t copy_ns = copy_ns_.load(std::memory_order_relaxed);
    const bool too_dear = copy_ns != 0 && NowNs() - began_ns > kWorth * copy_ns;
    dear_ = too_dear ? std::clamp(2 * dear_, 1U, kDecline) : 0;
    declined_ = dear_;
    return kLeafSpan;
  }
  // Not a huge page: only the page that was asked for moved. The slot keeps the page table that says so: start
  // anew next time.
  host_.Munmap(*reserved_);
  reserved_.reset();
  declined_ = kDecline;
  if (result == -EINVAL || result == -ENOTTY) unsupported_ = true;
  if (result == -EAGAIN && argument.move > 0) return Bytes(static_cast<uint64_t>(argument.move));
  return Bytes(0);
}

}  // namespace faultline
