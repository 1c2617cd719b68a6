// One request as the driver queued it: the buffers the device reads, then those it writes (virtio 1.2 §2.7.4).
//
// Plain values, read from guest memory once by SplitQueue. Nothing about the addresses has been checked but
// that they do not wrap: every use goes through GuestMemory and may fail. How a request is cut into buffers
// means nothing (§2.7.4): devices address it by byte offsets, with the functions below.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "guestmem/guest_memory.h"
#include "guestmem/types.h"

namespace faultline {

// A stretch of guest-physical memory; never empty, never wrapping around.
using Segment = GpaRange;

struct DescriptorChain {
  uint16_t head = 0;
  std::vector<Segment> readable;  // by the device
  std::vector<Segment> writable;
};

// Bytes in all segments; below 2^32, which SplitQueue has made sure of.
uint64_t TotalSize(std::span<const Segment> segments);

// The stretch [offset, offset + size) of the segments' bytes. Cut short where the segments end.
std::vector<Segment> Slice(std::span<const Segment> segments, uint64_t offset, uint64_t size);

// Copies between `bytes` and the segments' bytes from `offset` on. False when the segments are too short or
// guest memory refused; a part may have been copied then. Blocks as GuestMemory does.
bool CopyIn(GuestMemory& memory, std::span<const Segment> segments, uint64_t offset, std::span<std::byte> bytes);
bool CopyOut(GuestMemory& memory, std::span<const Segment> segments, uint64_t offset, std::span<const std::byte> bytes);

}  // namespace faultline
