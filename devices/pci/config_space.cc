#include "devices/pci/config_space.h"

#include <algorithm>

#include "devices/bus.h"
#include "guestmem/error.h"

namespace faultline {

void ConfigSpace::Set(unsigned offset, unsigned width, uint64_t value, uint64_t writable) {
  StoreLittleEndian(value, std::span(value_).subspan(offset, width));
  StoreLittleEndian(writable, std::span(writable_).subspan(offset, width));
}

void ConfigSpace::Put(unsigned offset, unsigned width, uint64_t value) {
  StoreLittleEndian(value, std::span(value_).subspan(offset, width));
}

uint64_t ConfigSpace::Get(unsigned offset, unsigned width) const {
  return LoadLittleEndian(std::span(value_).subspan(offset, width));
}

unsigned ConfigSpace::AddCapability(uint8_t id, std::span<const std::byte> body, std::span<const std::byte> writable) {
  const unsigned at = capability_end_;
  const auto size = static_cast<unsigned>(body.size()) + 2;
  if (at + size > kSize) throw Error("a PCI function has more capabilities than its configuration space holds");
  Set(last_link_, 1, at);
  Set(at, 1, id);
  Set(at + 1, 1, 0);
  std::ranges::copy(body, value_.begin() + at + 2);
  std::ranges::copy(writable, writable_.begin() + at + 2);
  last_link_ = at + 1;
  capability_end_ = (at + size + 3) / 4 * 4;
  Set(pci::kStatus, 2, Get(pci::kStatus, 2) | pci::kStatusCapabilities);
  return at;
}

void ConfigSpace::Read(unsigned offset, std::span<std::byte> out) const {
  for (size_t i = 0; i < out.size(); ++i) out[i] = offset + i < kSize ? value_[offset + i] : std::byte{0};
}

void ConfigSpace::Write(unsigned offset, std::span<const std::byte> data) {
  for (size_t i = 0; i < data.size() && offset + i < kSize; ++i) {
    const std::byte mask = writable_[offset + i];
    value_[offset + i] = (value_[offset + i] & ~mask) | (data[i] & mask);
  }
}

}  // namespace faultline
