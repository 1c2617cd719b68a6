// The facade of guest memory: plug and unplug regions, and reach their bytes safely from devices.
//
// Owned by one VM. Plug and Unplug are serialised by the control lock and may block as documented; all
// else is safe from any thread at any time and never waits for a plug or an unplug.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "guestmem/backing.h"
#include "guestmem/fault_stats.h"
#include "guestmem/host.h"
#include "guestmem/listener.h"
#include "guestmem/page_source.h"
#include "guestmem/types.h"

namespace faultline {

// How many pages one fault may bring in.
struct FaultAround {
  static constexpr unsigned kAuto = 0;  // adapts: grows on a sequential stream, one page on random access
  unsigned pages = kAuto;               // or a fixed count, 1..512
};

// "auto", or a size such as 64K; throws UsageError.
FaultAround ParseFaultAround(std::string_view text);

enum class ReaderPlacement : uint8_t {
  kFollow,  // each reader moves to the CPU whose thread it serves: the hand-over stays on one core
  kFloat,   // wherever the scheduler puts it
};

struct GuestMemoryOptions {
  FaultAround fault_around;
  unsigned shards = 0;  // userfaultfds and reader threads; 0 takes one for two host CPUs, at most 8
  ReaderPlacement placement = ReaderPlacement::kFollow;
  std::chrono::microseconds reader_spin{0};  // how long a reader polls before it sleeps
  size_t limbo_tables = 8192;                // cap of the table limbo, in leaf tables
  bool userfault = true;  // false: nobody faults through the kernel; pages are installed into plain memory
};

struct RegionSpec {
  std::string name;
  GpaRange gpa;  // page-aligned; 2 MiB-aligned regions get whole leaf tables
  BackingSpec backing;
  std::shared_ptr<PageSource> source;  // null: zeroes
  bool read_only = false;
};

struct UnplugOptions {
  std::chrono::nanoseconds pin_deadline{0};  // how long to wait for asynchronous I/O to let go of its pins
};

// Where the time of one unplug went, in ns, and what came back.
struct UnplugReport {
  uint64_t revoke_ns = 0;
  uint64_t slot_delete_ns = 0;
  uint64_t scan_ns = 0;
  uint64_t discard_ns = 0;
  uint64_t total_ns = 0;
  Bytes discarded;
  uint64_t tables = 0;
  int discard_error = 0;  // errno of a refused discard: those pages go with the mapping (see AwaitFreed)
};

// What one discard gave back.
struct DiscardReport {
  Bytes discarded;     // pages that were there and are the host's again
  uint64_t calls = 0;  // to the host
  int error = 0;       // the first errno of the host; what it refused is as it was
};

struct RegionInfo {
  RegionId id;
  std::string name;
  GpaRange gpa;
  BackingSpec backing;
  Bytes present;  // installed by the fault path
  bool read_only = false;
  unsigned pins = 0;
};

// How much of each of equal stretches of a range is in a region, and how much of it the fault path has installed.
struct ResidencyMap {
  Bytes cell;                  // a stretch: a multiple of 2 MiB; the last one may be shorter
  std::vector<Bytes> plugged;  // one a stretch
  std::vector<Bytes> present;  // likewise
};

enum class AccessResult : uint8_t {
  kOk,
  kNotMapped,    // some byte of the range is in no region
  kReadOnly,     // a write to a read-only region
  kSourceError,  // the page source failed
  kHostError,    // the host could not give a page
};

class PinGate;
class ProtocolObserver;

// Keeps a region from being unplugged while asynchronous I/O uses its bytes. Move-only; dropping it
// unpins. Thread-safe as a value type is.
class Pin {
 public:
  Pin() = default;
  Pin(Pin&& other) noexcept;
  Pin& operator=(Pin&& other) noexcept;
  ~Pin();

  explicit operator bool() const { return gate_ != nullptr; }
  std::span<std::byte> bytes() const { return bytes_; }

 private:
  friend class GuestMemory;
  std::shared_ptr<PinGate> gate_;
  std::string_view owner_;
  std::span<std::byte> bytes_;
};

class GuestMemory {
 public:
  // Starts the userfault readers. Throws Error when the host offers no userfaultfd. `observer`, for tests,
  // sees each step of the protocol.
  GuestMemory(Host& host, RegionListener& listener, const GuestMemoryOptions& options,
              ProtocolObserver* observer = nullptr);
  // No vCPU may run any more. Unmaps everything.
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  // Maps, registers and publishes a region. UsageError for a range that is empty, misaligned or overlaps
  // another region; Error when the host or the listener refuses. On any throw nothing has changed.
  RegionId Plug(const RegionSpec& spec);

  // Takes a region away, whatever its users do (the cooperative part, asking the guest, is the caller's).
  // Waits for pins up to the deadline, then for vCPUs to leave the range; never for a grace period.
  // Error when it is pinned (naming the pinning owner), unknown, or the listener could not unmap it; the
  // region then lives on, under the same name.
  UnplugReport Unplug(RegionId id, const UnplugOptions& options = {});

  // Copies between `buffer` and guest memory, faulting pages in on this thread. May span regions. A
  // failure may leave a prefix copied. Blocks only for a page source that blocks.
  AccessResult Read(Gpa gpa, std::span<std::byte> out) noexcept;
  AccessResult Write(Gpa gpa, std::span<const std::byte> data) noexcept;

  // Faults the range in and pins it; it must lie in one region. `owner` names the device for messages and
  // must outlive the pin. Error result: an empty Pin and `*why`.
  Pin PinRange(GpaRange range, bool for_write, std::string_view owner, AccessResult* why) noexcept;

  // Gives the pages of `range` back to the host and leaves the regions in place: what is touched next comes
  // anew from the page source, zeroes as a rule. Whole granules alone; what lies in no region or a dying one,
  // is being filled, or is mapped from a file on disk stays as it is. Ordered against faults page by page:
  // one that comes during the discard finds the page as it was, or brings a new one. Blocks for the host's
  // call, of 2 MiB at most at a time; a fault in the same 2 MiB waits for that.
  DiscardReport Discard(GpaRange range) noexcept;

  // True when every byte of the range is in a region right now.
  bool IsMapped(GpaRange range) const noexcept;
  std::optional<RegionId> FindRegion(Gpa gpa) const noexcept;

  std::vector<RegionInfo> Regions() const;
  // Of at most `cells` stretches, and at least one. For reports: faults go on meanwhile, so each number is right for
  // a moment of its own.
  ResidencyMap Residency(GpaRange range, size_t cells) const;
  FaultTotals fault_totals() const;
  void MergeLatency(LatencyHistogram& into) const;
  TableTotals table_totals() const;
  // Bytes the fault path has installed and not discarded.
  Bytes present_bytes() const;

  // A page could not be had and a vCPU waits for it: called once each time with what happened, from a
  // reader thread, which does not wait. The fault is tried again when RetryFailedFaults is called.
  struct FaultFailure {
    Gpa gpa;
    int error;  // errno
    bool host;  // the host refused the install; otherwise the page source failed
  };
  void SetFailureHandler(std::function<void(const FaultFailure&)> handler);
  void RetryFailedFaults();

  // Blocks until all memory unplugged so far is unmapped: for a grace period.
  void AwaitFreed();

  // Where memory may hold something other than what its source gives: the stretches of pages that were faulted in, in
  // order of address, and all of a region whose pages the kernel fills by itself; none spans two regions. Exact while
  // nobody touches memory. May throw std::bad_alloc.
  std::vector<GpaRange> PopulatedRanges() const;

  // Waits until everything retired so far is freed, and frees limbo. For tests and for shutdown.
  void DrainForTest();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace faultline
