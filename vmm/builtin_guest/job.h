// Work on one stretch of memory, shared out to all vCPUs in chunks. vCPU 0 starts a job and waits for it;
// the others help whenever there is one and idle otherwise.
#pragma once

#include <cstdint>

namespace faultline::guest {

enum class Operation : uint8_t {
  kFill,   // write a pattern that depends on address and seed
  kCheck,  // verify it
  kWalk,   // read one word of each page
};

struct JobRequest {
  Operation operation;
  uint64_t start;  // page-aligned, as is the size
  uint64_t size;
  uint64_t seed;
};

struct Mismatch {
  uint64_t address;
  uint64_t expected;
  uint64_t found;
};
inline constexpr unsigned kReportedMismatches = 8;

struct JobResult {
  uint64_t good_pages = 0;  // filled, as filled, or walked
  uint64_t zero_pages = 0;  // check: begin with zero, so never filled (or lost)
  uint64_t wrong_pages = 0;
  // The memory was taken away meanwhile: the address where that was noticed first. 0: it was not.
  uint64_t vanished_at = 0;
  bool cancelled = false;  // the machine asked the guest to end
  uint32_t cpus = 0;       // vCPUs that did a part
  uint32_t mismatch_count = 0;
  Mismatch mismatches[kReportedMismatches] = {};
};

// Runs a job to its end on all vCPUs; called on vCPU 0, which goes on answering the hot-plug registers in
// between.
void RunJob(const JobRequest& request, JobResult& result);

// What every other vCPU does for ever.
[[noreturn]] void HelperLoop();

// True when vCPU 0 was woken while it waited for helpers: whatever it was woken for is still to be looked at.
bool TakeMissedWake();

}  // namespace faultline::guest
