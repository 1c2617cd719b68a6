// Zeroed huge pages, made on the side and moved whole into a region.
//
// A sequential stream over zero-filled memory needs 512 copies a leaf table when pages come singly, and
// each page costs the hypervisor a fault of its own afterwards. A transparent huge page moved in with
// UFFDIO_MOVE (Linux 6.8) costs one clearing and one page-table entry, and a guest that uses large pages
// then faults once in 2 MiB. Private anonymous memory only. Where the host has no huge page to give, or
// cannot move one, the caller copies pages as ever; after such a failure the donor declines for a while.
// So it does after a huge page that cost more than it saves: one that had to be compacted, or that the
// host's own host had to back first, can take ten times as long as 512 recycled single pages.
//
// Owned by a userfault reader; thread-safe. May be called with a leaf lock held: what it waits for is the
// kernel's page allocator, never an unplug.
#pragma once

#include <atomic>
#include <optional>

#include "guestmem/host.h"
#include "guestmem/mutex.h"
#include "guestmem/page_installer.h"
#include "guestmem/types.h"

namespace faultline {

class HugeDonor {
 public:
  explicit HugeDonor(Host& host) noexcept : host_(host) {}
  ~HugeDonor();
  HugeDonor(const HugeDonor&) = delete;
  HugeDonor& operator=(const HugeDonor&) = delete;

  // Fills the kLeafSpan-aligned stretch at `to`, which holds no page (it is discarded first) and which `userfault_fd`
  // watches, and wakes who waits there. `done` is less than kLeafSpan when no huge page could be had: the caller goes
  // on from there.
  Bytes Fill(int userfault_fd, Hva to) noexcept EXCLUDES(mutex_);

  // What copying single pages costs instead: `size` bytes took `ns`.
  void LearnCopy(Bytes size, uint64_t ns) noexcept;

 private:
  // How many requests are declined after a failure; after one that was too dear 1, then 2, 4 and so on up to it.
  static constexpr unsigned kDecline = 64;
  // What a huge page may cost, in times of its copying: the hypervisor's faults that it saves are worth some
  // two copies.
  static constexpr uint64_t kWorth = 3;

  bool PrepareLocked() noexcept REQUIRES(mutex_);

  Host& host_;
  Mutex mutex_;
  std::optional<HvaRange> reserved_ GUARDED_BY(mutex_);  // address space around the slot
  Hva slot_ GUARDED_BY(mutex_);
  unsigned declined_ GUARDED_BY(mutex_) = 0;  // requests still to decline
  unsigned dear_ GUARDED_BY(mutex_) = 0;      // declined after the last one that was too dear; 0 after a good one
  bool unsupported_ GUARDED_BY(mutex_) = false;
  std::atomic<uint64_t> copy_ns_{0};  // of kLeafSpan, a running mean; 0 when unknown
};

}  // namespace faultline
