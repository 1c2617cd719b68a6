#include "devices/virtio/descriptor_chain.h"

#include <algorithm>

namespace faultline {
namespace {

// Calls `body(gpa, done, size)` for each piece of [offset, offset + size); false when it ends early.
template <class Body>
bool ForEachPiece(std::span<const Segment> segments, uint64_t offset, uint64_t size, Body&& body) {
  uint64_t done = 0;
  for (const Segment& segment : segments) {
    if (done == size) break;
    if (offset >= segment.size.value) {
      offset -= segment.size.value;
      continue;
    }
    const uint64_t piece = std::min(segment.size.value - offset, size - done);
    if (!body(segment.start + Bytes(offset), done, piece)) return false;
    done += piece;
    offset = 0;
  }
  return done == size;
}

}  // namespace

uint64_t TotalSize(std::span<const Segment> segments) {
  uint64_t total = 0;
  for (const Segment& segment : segments) total += segment.size.value;
  return total;
}

std::vector<Segment> Slice(std::span<const Segment> segments, uint64_t offset, uint64_t size) {
  std::vector<Segment> slice;
  ForEachPiece(segments, offset, size, [&](Gpa gpa, uint64_t, uint64_t piece) {
    slice.push_back({gpa, Bytes(piece)});
    return true;
  });
  return slice;
}

bool CopyIn(GuestMemory& memory, std::span<const Segment> segments, uint64_t offset, std::span<std::byte> bytes) {
  return ForEachPiece(segments, offset, bytes.size(), [&](Gpa gpa, uint64_t done, uint64_t piece) {
    return memory.Read(gpa, bytes.subspan(done, piece)) == AccessResult::kOk;
  });
}

bool CopyOut(GuestMemory& memory, std::span<const Segment> segments, uint64_t offset,
             std::span<const std::byte> bytes) {
  return ForEachPiece(segments, offset, bytes.size(), [&](Gpa gpa, uint64_t done, uint64_t piece) {
    return memory.Write(gpa, bytes.subspan(done, piece)) == AccessResult::kOk;
  });
}

}  // namespace faultline
