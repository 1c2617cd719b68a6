// A fuzzer's input read as what a guest does, one step after the other.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "devices/bus.h"

namespace faultline {

class GuestInput {
 public:
  explicit GuestInput(std::span<const std::byte> bytes) : rest_(bytes) {}

  bool empty() const { return rest_.empty(); }
  // The next `width` bytes, little-endian; fewer at the end.
  uint64_t Take(size_t width) { return LoadLittleEndian(TakeBytes(width)); }
  std::span<const std::byte> TakeBytes(size_t size) {
    const auto taken = rest_.first(std::min(size, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  // The width of an access, in bytes.
  size_t TakeWidth() { return size_t{1} << Take(1) % 4; }

 private:
  std::span<const std::byte> rest_;
};

}  // namespace faultline
