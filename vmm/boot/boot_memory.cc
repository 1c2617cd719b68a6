#include "vmm/boot/boot_memory.h"

#include <algorithm>
#include <array>
#include <optional>

#include "guestmem/error.h"

namespace faultline {
namespace {

// From behind the page of the real-mode interrupt table and BIOS data to the extended BIOS data area, where PC kernels
// expect nothing but what a loader left. Linux warns when setup_data lies in that page: it is the BIOS's.
constexpr GpaRange kLowArea{Gpa(0x1000), Bytes(0x9fc00 - 0x1000)};
constexpr Bytes kCopyPiece = 128_KiB;

}  // namespace

std::string RoundedSizeText(Bytes size) {
  const bool small = size < 1_MiB;
  const Bytes unit = small ? 1_KiB : 1_MiB;
  return std::to_string(AlignUp(size, unit) / unit) + (small ? " KiB" : " MiB");
}

BootMemory::BootMemory(GuestMemory& memory, const std::vector<GpaRange>& ram, const std::vector<GpaRange>& reserved,
                       bool zeroed)
    : memory_(memory), zeroed_(zeroed), map_(BuildMemoryMap(ram, reserved)), next_low_(kLowArea.start) {}

bool BootMemory::IsRam(GpaRange range) const {
  return std::ranges::any_of(
      map_, [&](const MemoryMapEntry& entry) { return entry.type == MemoryType::kRam && entry.range.Contains(range); });
}

const GpaRange* BootMemory::FindClaim(GpaRange range) const {
  const auto found = std::ranges::find_if(claims_, [&](const GpaRange& claim) { return claim.Overlaps(range); });
  return found == claims_.end() ? nullptr : &*found;
}

void BootMemory::Claim(GpaRange range, const std::string& what) {
  if (!IsRam(range)) {
    throw UsageError(what + " needs memory up to " + RoundedSizeText(Bytes(range.end().value)) +
                     ", which this guest does not have free there: give it more memory");
  }
  if (FindClaim(range) != nullptr) {
    throw Error(what + " lies where something else was loaded already: it cannot be booted by this machine");
  }
  claims_.push_back(range);
}

GpaRange BootMemory::ClaimHigh(Bytes size, Gpa limit, const std::string& what) {
  const Bytes whole = AlignUp(size, kPageSize);
  std::optional<GpaRange> best;
  if (whole >= size) {
    for (const MemoryMapEntry& entry : map_) {
      if (entry.type != MemoryType::kRam || entry.range.start >= limit) continue;
      Gpa top = AlignDown(std::min(entry.range.end(), limit), kPageSize);
      while (top >= entry.range.start && top - entry.range.start >= whole) {
        const GpaRange candidate{top - whole, whole};
        const GpaRange* taken = FindClaim(candidate);
        if (taken == nullptr) {
          if (!best || candidate.start > best->start) best = candidate;
          break;
        }
        top = AlignDown(taken->start, kPageSize);
      }
    }
  }
  if (!best) {
    throw UsageError(what + " (" + RoundedSizeText(size) +
                     ") does not fit into the guest's memory beside the kernel: " + "give the guest more memory");
  }
  claims_.push_back(*best);
  return *best;
}

Gpa BootMemory::ClaimLow(Bytes size, Bytes alignment) {
  const GpaRange range{Gpa(AlignUp(Bytes(next_low_.value), alignment).value), size};
  if (size > kLowArea.size || !kLowArea.Contains(range)) {
    throw Error(
        "what the kernel must be told does not fit into the guest's memory below 640 KiB: shorten the command "
        "line");
  }
  Claim(range, "what the kernel is told");
  next_low_ = range.end();
  return range.start;
}

void BootMemory::Write(Gpa to, std::span<const std::byte> data) {
  if (memory_.Write(to, data) != AccessResult::kOk) {
    throw Error("the kernel does not go into guest memory at its start; is the host out of memory?");
  }
}

void BootMemory::Copy(const ImageSource& source, Bytes offset, Bytes size, Gpa to) {
  std::vector<std::byte> piece(std::min(size, kCopyPiece).value);
  while (size.value != 0) {
    const std::span<std::byte> part = std::span(piece).first(std::min(size, kCopyPiece).value);
    source.Read(offset, part);
    Write(to, part);
    const Bytes done(part.size());
    offset += done;
    size -= done;
    to = to + done;
  }
}

void BootMemory::Zero(GpaRange range) {
  if (zeroed_) return;
  const std::vector<std::byte> zeroes(std::min(range.size, kCopyPiece).value);
  while (range.size.value != 0) {
    const Bytes part = std::min(range.size, kCopyPiece);
    Write(range.start, std::span(zeroes).first(part.value));
    range = {range.start + part, range.size - part};
  }
}

}  // namespace faultline
