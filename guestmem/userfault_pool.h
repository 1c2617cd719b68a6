// The threads that read userfaults and answer them.
//
// Owned by GuestMemory. One reader for each userfaultfd (two on one would both wake for each message);
// a large region is spread over several, in contiguous parts, so that one wait queue and one thread do
// not become the limit. Readers never wait for an unplug or a page source: an unplug may depend on
// their progress. Fails only at construction and registration.
#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "guestmem/fault_handler.h"
#include "guestmem/guest_memory.h"
#include "guestmem/host.h"
#include "guestmem/page_installer.h"
#include "guestmem/region_map.h"
#include "guestmem/userfault_fd.h"

namespace faultline {

class UserfaultPool {
 public:
  struct Options {
    unsigned shards = 1;
    ReaderPlacement placement = ReaderPlacement::kFollow;
    std::chrono::microseconds spin{0};
  };

  // Opens the descriptors and starts the readers. Throws Error.
  UserfaultPool(Host& host, RcuDomain& domain, const HostRangeMap& ranges, FaultHandler& handler,
                const Options& options);
  // Stops the readers. No fault may be blocked any more.
  ~UserfaultPool();
  UserfaultPool(const UserfaultPool&) = delete;
  UserfaultPool& operator=(const UserfaultPool&) = delete;

  // Registers the mapped range of a region at `gpa` for missing faults; the result installs into it.
  // Throws Error.
  std::shared_ptr<PageInstaller> Register(const Backing& backing, GpaRange gpa);

  void AddTotals(FaultTotals& totals) const noexcept;
  void MergeLatency(LatencyHistogram& into) const noexcept;

 private:
  class Reader;
  class StripedInstaller;

  Host& host_;
  std::vector<std::unique_ptr<Reader>> readers_;
  std::atomic<unsigned> next_reader_{0};
};

}  // namespace faultline
