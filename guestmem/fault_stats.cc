#include "guestmem/fault_stats.h"

namespace faultline {

void FaultTotals::Add(const FaultStats& s) noexcept {
  faults += s.faults.value();
  writes += s.writes.value();
  pages += s.pages.value();
  spurious += s.spurious.value();
  pending += s.pending.value();
  retries += s.retries.value();
  dead_bails += s.dead_bails.value();
  revoked += s.revoked.value();
  source_errors += s.source_errors.value();
  host_errors += s.host_errors.value();
}

}  // namespace faultline
