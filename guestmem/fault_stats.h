// What the fault path counts. Each thread that handles faults owns one FaultStats and is its only
// writer, so counting costs no shared store; readers sum over all threads.
#pragma once

#include <atomic>
#include <cstdint>

#include "guestmem/latency_histogram.h"

namespace faultline {

// A counter with one writer: a plain add, readable from anywhere.
class OwnedCounter {
 public:
  void Add(uint64_t n) noexcept { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

struct FaultStats {
  OwnedCounter faults;         // decisions taken, whatever came out
  OwnedCounter writes;         // of them, for a write access
  OwnedCounter pages;          // pages installed, fault-around included
  OwnedCounter spurious;       // the page was there already
  OwnedCounter pending;        // someone else fills the page, or a slow source was asked
  OwnedCounter retries;        // validation failed: the region or the table changed underneath
  OwnedCounter dead_bails;     // a table was not linked because its region had died
  OwnedCounter revoked;        // blocked faults released with EFAULT because their region is dying
  OwnedCounter source_errors;  // the page source failed
  OwnedCounter host_errors;    // the host refused an install (out of memory)
  LatencyHistogram latency;    // message read to page installed, ns
};

// A sum over threads, as of some moment between call and return.
struct FaultTotals {
  uint64_t faults = 0, writes = 0, pages = 0, spurious = 0, pending = 0, retries = 0, dead_bails = 0, revoked = 0,
           source_errors = 0, host_errors = 0;

  void Add(const FaultStats& s) noexcept;
};

// The life of shadow tables. `live` are linked in a region, `limbo` wait to be taken back or freed;
// allocated + recycled = linked so far; allocated = live + limbo + freed at every quiet point.
struct TableTotals {
  uint64_t allocated = 0;  // from the heap
  uint64_t recycled = 0;   // from limbo
  uint64_t freed = 0;      // back to the heap
  uint64_t live = 0;
  uint64_t limbo = 0;
};

}  // namespace faultline
