#include "vmm/assist/guest_paging.h"

#include <algorithm>
#include <atomic>

namespace faultline {
namespace {

constexpr uint64_t kPagingOn = 1ULL << 31;        // CR0.PG
constexpr uint64_t kWriteProtect = 1ULL << 16;    // CR0.WP
constexpr uint64_t kFiveLevels = 1ULL << 12;      // CR4.LA57
constexpr uint64_t kLongModeActive = 1ULL << 10;  // EFER.LMA

constexpr uint64_t kPresent = 1U << 0;
constexpr uint64_t kWritable = 1U << 1;
constexpr uint64_t kUser = 1U << 2;
constexpr uint64_t kAccessed = 1U << 5;
constexpr uint64_t kDirty = 1U << 6;
constexpr uint64_t kLargePage = 1U << 7;
constexpr uint64_t kAddressMask = 0x000ffffffffff000;

constexpr uint32_t kFaultPresent = 1U << 0;
constexpr uint32_t kFaultWrite = 1U << 1;
constexpr uint32_t kFaultUser = 1U << 2;

constexpr unsigned kUserLevel = 3;  // CPL

}  // namespace

LinearResult LinearMemory::Fault(uint64_t linear, AccessKind kind, bool present) {
  fault_.address = linear;
  fault_.error_code = (present ? kFaultPresent : 0) | (kind == AccessKind::kWrite ? kFaultWrite : 0) |
                      (registers_.cpl == kUserLevel ? kFaultUser : 0);
  return LinearResult::kPageFault;
}

bool LinearMemory::SetBits(Gpa entry, uint64_t bits) {
  // Other vCPUs change the same entries with locked instructions.
  const Pin pin = memory_.PinRange({entry, Bytes(sizeof(uint64_t))}, true, "the instruction assist", nullptr);
  if (!pin) return false;
  std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(pin.bytes().data())).fetch_or(bits);
  return true;
}

LinearResult LinearMemory::Translate(uint64_t linear, AccessKind kind, Gpa* gpa) {
  if ((registers_.cr0 & kPagingOn) == 0) {
    *gpa = Gpa(linear & 0xffffffff);
    return LinearResult::kOk;
  }
  if ((registers_.efer & kLongModeActive) == 0) return LinearResult::kUnsupported;
  unsigned shift = (registers_.cr4 & kFiveLevels) != 0 ? 48 : 39;
  uint64_t table = registers_.cr3 & kAddressMask;
  uint64_t permissions = kWritable | kUser;
  for (;; shift -= 9) {
    const Gpa at(table + ((linear >> shift) & 511) * sizeof(uint64_t));
    uint64_t entry = 0;
    if (memory_.Read(at, std::as_writable_bytes(std::span(&entry, 1))) != AccessResult::kOk) {
      return LinearResult::kUnsupported;
    }
    if ((entry & kPresent) == 0) return Fault(linear, kind, false);
    permissions &= entry;
    const bool leaf = shift == 12 || ((entry & kLargePage) != 0 && shift <= 30);
    if (leaf) {
      const bool user = registers_.cpl == kUserLevel;
      const bool must_be_writable = kind == AccessKind::kWrite && (user || (registers_.cr0 & kWriteProtect) != 0);
      if ((user && (permissions & kUser) == 0) || (must_be_writable && (permissions & kWritable) == 0)) {
        return Fault(linear, kind, true);
      }
    }
    const uint64_t wanted = kAccessed | (leaf && kind == AccessKind::kWrite ? kDirty : 0);
    if ((entry & wanted) != wanted && !SetBits(at, wanted)) return LinearResult::kUnsupported;
    if (leaf) {
      const uint64_t offset_mask = (1ULL << shift) - 1;
      *gpa = Gpa((entry & kAddressMask & ~offset_mask) | (linear & offset_mask));
      return LinearResult::kOk;
    }
    table = entry & kAddressMask;
  }
}

LinearResult LinearMemory::Read(uint64_t linear, std::span<std::byte> out) {
  while (!out.empty()) {
    Gpa gpa;
    if (const LinearResult result = Translate(linear, AccessKind::kRead, &gpa); result != LinearResult::kOk) {
      return result;
    }
    const size_t to_page_end = kPageSize.value - linear % kPageSize.value;
    const std::span<std::byte> part = out.first(std::min(out.size(), to_page_end));
    if (memory_.Read(gpa, part) != AccessResult::kOk) return LinearResult::kUnsupported;
    out = out.subspan(part.size());
    linear += part.size();
  }
  return LinearResult::kOk;
}

LinearResult LinearMemory::Write(uint64_t linear, std::span<const std::byte> data) {
  const size_t to_page_end = kPageSize.value - linear % kPageSize.value;
  const std::span<const std::byte> first = data.first(std::min(data.size(), to_page_end));
  const std::span<const std::byte> second = data.subspan(first.size());
  Gpa here, there;
  LinearResult result = Translate(linear, AccessKind::kWrite, &here);
  if (result == LinearResult::kOk && !second.empty()) {
    result = Translate(linear + first.size(), AccessKind::kWrite, &there);
  }
  if (result != LinearResult::kOk) return result;
  if (memory_.Write(here, first) != AccessResult::kOk) return LinearResult::kUnsupported;
  if (!second.empty() && memory_.Write(there, second) != AccessResult::kOk) return LinearResult::kUnsupported;
  return LinearResult::kOk;
}

size_t LinearMemory::ReadPrefix(uint64_t linear, std::span<std::byte> out) {
  const size_t to_page_end = kPageSize.value - linear % kPageSize.value;
  const std::span<std::byte> first = out.first(std::min(out.size(), to_page_end));
  if (Read(linear, first) != LinearResult::kOk) return 0;
  const std::span<std::byte> second = out.subspan(first.size());
  if (second.empty() || Read(linear + first.size(), second) != LinearResult::kOk) return first.size();
  return out.size();
}

}  // namespace faultline
