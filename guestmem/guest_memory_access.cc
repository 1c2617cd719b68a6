// Device access: copies that fault pages in on the device's own thread, and pins for asynchronous I/O.

#include <cstring>
#include <utility>

#include "guestmem/guest_memory_impl.h"

namespace faultline {

template <class Body>
AccessResult GuestMemory::Impl::Access(Gpa gpa, size_t size, bool write, Body&& body) noexcept {
  if (!GpaRange::Make(gpa, Bytes(size))) return AccessResult::kNotMapped;
  FaultStats& stats = StatsOfThisThread();
  size_t done = 0;
  unsigned retries = 0;
  while (done < size) {
    const Gpa at = gpa + Bytes(done);
    const size_t in_page = at.value % kPageSize.value;
    const size_t piece = std::min(size - done, static_cast<size_t>(kPageSize.value) - in_page);
    const uint64_t progress = retries > 0 ? slow_fill_.progress() : 0;
    FaultOutcome outcome;
    {
      RcuDomain::ReadGuard guard(domain_);
      const RegionMap::Entry* entry = regions_.Lookup(at);
      if (entry == nullptr) return AccessResult::kNotMapped;
      const Region& region = *entry->value;
      if (write && region.memory().read_only) return AccessResult::kReadOnly;
      outcome =
          handler_.WithPresentPage(region, at, stats, [&](std::byte* page) { body(page + in_page, done, piece); });
      if (outcome == FaultOutcome::kInstalled) {
        done += piece;
        retries = 0;
        continue;
      }
      outcome = handler_.HandleIn(region, at, write, 0, stats);
    }
    switch (outcome) {
      case FaultOutcome::kParked:
        return AccessResult::kHostError;
      case FaultOutcome::kPending:
        // A vCPU sleeps on a page that could not be had until somebody retries; a device is told.
        if (const AccessResult why = ParkedBecause(at); why != AccessResult::kOk) return why;
        if (retries > 0) slow_fill_.WaitBeyond(progress);
        break;
      case FaultOutcome::kRetry:
        if (retries > FaultHandler::kMaxRetries) std::this_thread::sleep_for(std::chrono::microseconds(50));
        if (retries > 100 * FaultHandler::kMaxRetries) return AccessResult::kHostError;
        break;
      default:
        break;
    }
    ++retries;
  }
  return AccessResult::kOk;
}

AccessResult GuestMemory::Read(Gpa gpa, std::span<std::byte> out) noexcept {
  return impl_->Access(gpa, out.size(), /*write=*/false,
                       [&](std::byte* at, size_t offset, size_t size) { memcpy(out.data() + offset, at, size); });
}

AccessResult GuestMemory::Write(Gpa gpa, std::span<const std::byte> data) noexcept {
  return impl_->Access(gpa, data.size(), /*write=*/true,
                       [&](std::byte* at, size_t offset, size_t size) { memcpy(at, data.data() + offset, size); });
}

Pin GuestMemory::Impl::PinRange(GpaRange range, bool for_write, std::string_view owner, AccessResult* why) noexcept {
  Pin pin;
  *why = AccessResult::kNotMapped;
  if (range.size == Bytes(0) || !GpaRange::Make(range.start, range.size)) return pin;
  {
    RcuDomain::ReadGuard guard(domain_);
    const RegionMap::Entry* entry = regions_.Lookup(range.start);
    if (entry == nullptr || !entry->range.Contains(range)) return pin;
    Region& region = *entry->value;
    if (for_write && region.memory().read_only) {
      *why = AccessResult::kReadOnly;
      return pin;
    }
    try {
      // A region whose gate lets us in stays Live until we leave: its unplug closes the gate first.
      if (!region.pins().Enter(owner)) return pin;
    } catch (const std::bad_alloc&) {
      *why = AccessResult::kHostError;
      return pin;
    }
    pin.gate_ = region.memory().pins;
    pin.owner_ = owner;
    pin.bytes_ = {ToPointer(region.ToHva(range.start)), range.size.value};
  }
  *why = Access(range.start, range.size.value, for_write, [](std::byte*, size_t, size_t) {});
  return *why == AccessResult::kOk ? std::move(pin) : Pin();
}

Pin GuestMemory::PinRange(GpaRange range, bool for_write, std::string_view owner, AccessResult* why) noexcept {
  AccessResult ignored = AccessResult::kOk;
  return impl_->PinRange(range, for_write, owner, why != nullptr ? why : &ignored);
}

Pin::Pin(Pin&& other) noexcept
    : gate_(std::move(other.gate_)), owner_(other.owner_), bytes_(std::exchange(other.bytes_, {})) {}

Pin& Pin::operator=(Pin&& other) noexcept {
  if (this != &other) {
    if (gate_ != nullptr) gate_->Leave(owner_);
    gate_ = std::move(other.gate_);
    owner_ = other.owner_;
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

Pin::~Pin() {
  if (gate_ != nullptr) gate_->Leave(owner_);
}

}  // namespace faultline
