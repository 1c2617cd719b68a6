#include "vmm/snapshot/save.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "guestmem/error.h"
#include "guestmem/guest_memory.h"
#include "guestmem/hex.h"
#include "vmm/machine/machine.h"
#include "vmm/snapshot/stream.h"

namespace faultline {
namespace {

using Page = std::span<const std::byte>;

bool IsZero(Page page) {
  return std::ranges::all_of(page, [](std::byte b) { return b == std::byte{0}; });
}

Page PageAt(std::span<const std::byte> data, size_t index) {
  return data.subspan(index * kPageSize.value, kPageSize.value);
}

// Writes the pages of `data`, which lies at `gpa`, but for those that are zero.
void WriteFilledPages(Gpa gpa, std::span<const std::byte> data, SnapshotWriter& out) {
  const size_t pages = data.size() / kPageSize.value;
  size_t begin = 0;
  while (begin < pages) {
    if (IsZero(PageAt(data, begin))) {
      ++begin;
      continue;
    }
    size_t end = begin + 1;
    while (end < pages && !IsZero(PageAt(data, end))) ++end;
    out.WritePages(gpa + kPageSize * begin, data.subspan(begin * kPageSize.value, (end - begin) * kPageSize.value));
    begin = end;
  }
}

// A file behind memory may hold anything before it is restored into: its zeroes count.
bool HoldsZeroes(const std::vector<RegionInfo>& regions, Gpa gpa) {
  return std::ranges::any_of(regions, [gpa](const RegionInfo& region) {
    return region.gpa.Contains(gpa) && region.backing.kind == BackingKind::kFile;
  });
}

}  // namespace

void SaveMachine(Machine& machine, SnapshotWriter& out, SaveProgress& progress) {
  out.WriteState(machine.SaveState());
  GuestMemory& memory = machine.memory();
  const std::vector<GpaRange> populated = memory.PopulatedRanges();
  const std::vector<RegionInfo> regions = memory.Regions();
  uint64_t total = 0;
  for (const GpaRange& range : populated) total += range.size.value;
  progress.total.store(total, std::memory_order_relaxed);

  std::vector<std::byte> buffer(kMaxPagesSection.value);
  for (GpaRange range : populated) {
    while (range.size != Bytes(0)) {
      const Bytes piece = std::min(range.size, kMaxPagesSection);
      const std::span<std::byte> data(buffer.data(), piece.value);
      if (memory.Read(range.start, data) != AccessResult::kOk) {
        throw Error("the guest's memory at " + Hex(range.start.value) +
                    " could not be read: the VM was not saved; free memory on the host and try again");
      }
      if (HoldsZeroes(regions, range.start)) {
        out.WritePages(range.start, data);
      } else {
        WriteFilledPages(range.start, data, out);
      }
      range = {range.start + piece, range.size - piece};
      progress.done.fetch_add(piece.value, std::memory_order_relaxed);
      progress.transferred.store(out.written().value, std::memory_order_relaxed);
    }
  }
  out.Finish();
  progress.transferred.store(out.written().value, std::memory_order_relaxed);
}

void RestoreMachine(Machine& machine, const nlohmann::json& state, SnapshotReader& in, SaveProgress& progress) {
  machine.RestoreState(state);
  GuestMemory& memory = machine.memory();
  while (const auto pages = in.NextPages()) {
    if (memory.Write(pages->gpa, pages->data) != AccessResult::kOk) {
      throw Error("the saved VM has memory at " + Hex(pages->gpa.value) +
                  " that could not be written: this VM has none there, or the host is out of memory");
    }
    progress.done.fetch_add(pages->data.size(), std::memory_order_relaxed);
    progress.transferred.store(in.bytes_read().value, std::memory_order_relaxed);
  }
}

}  // namespace faultline
