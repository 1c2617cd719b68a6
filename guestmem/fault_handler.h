// The fault protocol: look up without a lock, lock the leaf, validate, install.
//
// Owned by GuestMemory. Thread-safe; called by userfault readers, vCPU threads and devices alike. Never
// waits for an unplug: the only locks it takes are a link lock and a leaf lock, whose holders issue at
// most one non-blocking install; a source that may block is read with no lock and outside RCU.
//
// Why an install can only hit live memory:
//   F1  The leaf was found through a region that was in the map inside this read section, so neither is
//       freed before the section ends (RcuDomain P1).
//   F2  Under the leaf lock the fault checks: the leaf's owner is that region, its generation is the one
//       seen before locking, the region is Live.
//   F3  The unplug marks the region Dying, and only then takes each leaf lock once, to claim blocked
//       fills for revocation, and once more, to detach and empty the table.
//   F4  Pages are given back to the host only after the leaf's second critical section of F3.
// If the fault's critical section comes before the scan's, the scan counts and discards its page. If it
// comes after, F3 and the lock make Dying (or the changed owner) visible and the fault retries. This
// guarantees I1 (nothing is installed after the scan), I5 (Present is what is charged) and, with the
// generation drawn anew on each take-over, I2: a fill that left the read section comes back with the
// generation of its claim and is dropped when the table serves another incarnation.
#pragma once

#include <atomic>

#include "guestmem/fault_around.h"
#include "guestmem/fault_stats.h"
#include "guestmem/guest_memory.h"
#include "guestmem/protocol_observer.h"
#include "guestmem/rcu_domain.h"
#include "guestmem/region.h"
#include "guestmem/region_map.h"
#include "guestmem/table_limbo.h"

namespace faultline {

enum class FaultOutcome : uint8_t {
  kInstalled,  // the page and perhaps its neighbours are there now
  kSpurious,   // the page was there; who waited was woken
  kPending,    // someone else is bringing it, or the slow source was asked: whoever waits will be woken
  kRetry,      // the region or the table changed underneath; look again
  kNotMapped,  // no region holds the address
  kParked,     // the source or the host failed; the page waits for a retry or for the region's end
};

// Pages claimed for a fill that happens outside the locks: the generation says of which incarnation.
struct FillClaim {
  Gpa gpa;  // of the first page
  unsigned pages = 0;
  uint64_t generation = 0;
  RegionId region;  // for observers only: validation goes by generation
  std::shared_ptr<PageSource> source;
  Bytes offset;  // of the first page in the region
  uint64_t began_ns = 0;
};

// Reads slow sources on threads of its own and brings the result back to FaultHandler::CompleteFill.
class FillQueue {
 public:
  virtual ~FillQueue() = default;
  // False when the claim cannot be taken (out of memory or threads).
  virtual bool Submit(FillClaim claim) noexcept = 0;
};

// Told of pages that could not be had. They stay Filling until Unpark or the region's end. Called with no
// lock held.
class FailureSink {
 public:
  virtual ~FailureSink() = default;
  virtual void OnParked(const FillClaim& claim, int error, bool host) noexcept = 0;
};

class FaultHandler {
 public:
  struct Parts {
    RcuDomain& domain;
    RegionMap& regions;
    TableLimbo& limbo;
    FillQueue& fills;
    FailureSink& failures;
    FaultAround fault_around;
    ProtocolObserver* observer = nullptr;
  };
  explicit FaultHandler(const Parts& parts) : parts_(parts) {}

  // How often an entry point looks again before it hands the access back to its origin.
  static constexpr unsigned kMaxRetries = 64;

  // A fault at `gpa`, from the beginning; retries up to kMaxRetries, then returns kRetry.
  FaultOutcome Handle(Gpa gpa, bool write, uint64_t began_ns, FaultStats& stats) noexcept;

  // One try against a region that was found in this read section, by whichever map.
  FaultOutcome HandleIn(const Region& region, Gpa gpa, bool write, uint64_t began_ns, FaultStats& stats) noexcept;

  // The end of a fill outside the locks: installs what is still wanted. `error` is what the source said.
  void CompleteFill(const FillClaim& claim, const std::byte* data, int error, FaultStats& stats) noexcept;

  // Runs body(std::byte* page_start) with the page Present and its leaf locked, so that neither an unplug
  // nor a discard can take the page meanwhile; body must not block and only touch this page. kInstalled
  // when it ran; kRetry when the page is not there (fault it in and come back) or the region changed.
  template <class Body>
  FaultOutcome WithPresentPage(const Region& region, Gpa gpa, FaultStats& stats, Body&& body) noexcept {
    bool no_memory = false;
    ValidLeaf leaf = LockLeaf(region, gpa, stats, &no_memory);
    if (!leaf) return FaultOutcome::kRetry;
    leaf->lock().AssertHeld();
    if (!leaf->PresentLocked(PageInLeaf(gpa))) return FaultOutcome::kRetry;
    body(ToPointer(region.ToHva(AlignDown(gpa, kPageSize))));
    return FaultOutcome::kInstalled;
  }

  // Makes the parked pages of `claim` Absent again and has whoever waits for them fault anew.
  void Unpark(const FillClaim& claim) noexcept;

 private:
  // A leaf, locked until the guard goes; empty when the fault must retry.
  class ValidLeaf {
   public:
    ValidLeaf() = default;
    // Locks it. The analysis cannot follow a lock out of a scope: users say AssertHeld.
    explicit ValidLeaf(LeafTable* leaf) noexcept NO_THREAD_SAFETY_ANALYSIS : leaf_(leaf) { leaf->lock().Lock(); }
    ValidLeaf(ValidLeaf&& other) noexcept : leaf_(other.leaf_) { other.leaf_ = nullptr; }
    ValidLeaf& operator=(ValidLeaf&&) = delete;
    ~ValidLeaf() { Unlock(); }
    void Unlock() noexcept NO_THREAD_SAFETY_ANALYSIS {
      if (leaf_ != nullptr) leaf_->lock().Unlock();
      leaf_ = nullptr;
    }
    explicit operator bool() const { return leaf_ != nullptr; }
    LeafTable& operator*() const { return *leaf_; }
    LeafTable* operator->() const { return leaf_; }

   private:
    LeafTable* leaf_ = nullptr;
  };

  static unsigned PageInLeaf(Gpa gpa) { return static_cast<unsigned>(gpa.value % kLeafSpan.value / kPageSize.value); }

  // Steps 2 and 3. `*no_memory` is set when a table could not be had.
  ValidLeaf LockLeaf(const Region& region, Gpa gpa, FaultStats& stats, bool* no_memory) noexcept;

  // The absent run around `page` that this fault brings, within the region and the window policy.
  PageWindow ChooseWindowLocked(const Region& region, LeafTable& leaf, size_t index, unsigned page) noexcept
      REQUIRES(leaf.lock());

  // Installs `window` from `data`; pages that are there already are skipped. Returns how far it got: the
  // result is not kInstalled when a page could not be had, and `first` is then that page.
  struct Run {
    InstallResult result = InstallResult::kInstalled;
    unsigned stopped_at = 0;
  };
  Run InstallLocked(const Region& region, LeafTable& leaf, PageWindow window, const std::byte* data,
                    FaultStats& stats) noexcept REQUIRES(leaf.lock());

  const Parts parts_;
};

}  // namespace faultline
