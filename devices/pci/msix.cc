#include "devices/pci/msix.h"

#include <algorithm>
#include <utility>

#include "guestmem/error.h"

namespace faultline {

Msix::Msix(MsiHost& host, unsigned vectors)
    : host_(host), vector_count_(std::min(vectors, kMaxVectors)), entries_(vector_count_) {
  static_assert(kMaxVectors * kEntrySize <= pba_offset().value);
}

void Msix::SetControl(bool enabled, bool masked) {
  MutexLock lock(mutex_);
  enabled_ = enabled;
  function_mask_ = masked;
  for (Entry& entry : entries_) SettleLocked(entry);
}

bool Msix::enabled() const {
  MutexLock lock(mutex_);
  return enabled_;
}

void Msix::Notify(unsigned vector) {
  MutexLock lock(mutex_);
  if (!enabled_ || vector >= entries_.size()) return;
  Entry& entry = entries_[vector];
  if (MaskedLocked(entry)) {
    entry.pending = true;
  } else {
    SendLocked(entry);
  }
}

void Msix::Reset() {
  MutexLock lock(mutex_);
  enabled_ = false;
  function_mask_ = false;
  for (Entry& entry : entries_) {
    entry.message = {};
    entry.masked = true;
    entry.pending = false;
  }
}

void Msix::SettleLocked(Entry& entry) {
  if (MaskedLocked(entry)) return;
  if (entry.installed != entry.message) {
    try {
      if (entry.vector == nullptr) entry.vector = host_.NewVector();
      entry.vector->SetMessage(entry.message);
      entry.installed = entry.message;
    } catch (const Error&) {
      // The host has no more routes: SendLocked sends this one the slow way, and the next change tries again.
      entry.installed.reset();
    }
  }
  if (std::exchange(entry.pending, false)) SendLocked(entry);
}

void Msix::SendLocked(Entry& entry) {
  if (entry.installed) {
    entry.vector->Trigger();
  } else {
    host_.Send(entry.message);
  }
}

// The four little-endian words of an entry: address low, address high, data, vector control.
uint64_t Msix::FieldOf(const Entry& entry, unsigned index) {
  switch (index) {
    case 0:
      return entry.message.address & 0xffffffff;
    case 1:
      return entry.message.address >> 32;
    case 2:
      return entry.message.data;
    default:
      return entry.masked ? 1 : 0;
  }
}

uint8_t Msix::ReadByteLocked(uint64_t offset) const {
  if (offset < uint64_t{vector_count_} * kEntrySize) {
    const uint64_t field = FieldOf(entries_[offset / kEntrySize], offset % kEntrySize / 4);
    return static_cast<uint8_t>(field >> (8 * (offset % 4)));
  }
  uint8_t bits = 0;
  if (offset < pba_offset().value) return bits;
  const uint64_t first = (offset - pba_offset().value) * 8;
  for (uint64_t i = 0; i < 8 && first + i < vector_count_; ++i) {
    if (entries_[first + i].pending) bits = static_cast<uint8_t>(bits | 1U << i);
  }
  return bits;
}

void Msix::WriteFieldByteLocked(uint64_t offset, uint8_t value) {
  Entry& entry = entries_[offset / kEntrySize];
  const auto index = static_cast<unsigned>(offset % kEntrySize / 4);
  const auto shift = static_cast<unsigned>(8 * (offset % 4));
  const uint64_t field = (FieldOf(entry, index) & ~(uint64_t{0xff} << shift)) | uint64_t{value} << shift;
  switch (index) {
    case 0:
      // Messages are dword writes: the low two bits are zero (§6.8.2.4).
      entry.message.address = (entry.message.address & ~uint64_t{0xffffffff}) | (field & 0xfffffffc);
      break;
    case 1:
      entry.message.address = (entry.message.address & 0xffffffff) | field << 32;
      break;
    case 2:
      entry.message.data = static_cast<uint32_t>(field);
      break;
    default:
      entry.masked = (field & 1) != 0;
  }
}

void Msix::Read(Bytes offset, std::span<std::byte> out) {
  MutexLock lock(mutex_);
  for (size_t i = 0; i < out.size(); ++i) out[i] = std::byte{ReadByteLocked(offset.value + i)};
}

void Msix::Write(Bytes offset, std::span<const std::byte> data) {
  MutexLock lock(mutex_);
  const uint64_t end = uint64_t{vector_count_} * kEntrySize;
  for (size_t i = 0; i < data.size() && offset.value < end && offset.value + i < end; ++i) {
    WriteFieldByteLocked(offset.value + i, std::to_integer<uint8_t>(data[i]));
  }
  for (uint64_t i = offset.value / kEntrySize; i < vector_count_ && i * kEntrySize < offset.value + data.size(); ++i) {
    SettleLocked(entries_[i]);
  }
}

}  // namespace faultline
