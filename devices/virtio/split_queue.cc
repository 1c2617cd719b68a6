#include "devices/virtio/split_queue.h"

#define VIRTIO_RING_NO_LEGACY  // its legacy part is C alone
#include <linux/virtio_ring.h>

#include <array>
#include <atomic>
#include <bit>
#include <utility>

namespace faultline {
namespace {

constexpr uint64_t kFlags = 0;
constexpr uint64_t kIndex = 2;

}  // namespace

const char* RingErrorText(RingError error) {
  switch (error) {
    case RingError::kNone:
      return "nothing";
    case RingError::kOutsideMemory:
      return "a ring outside guest memory";
    case RingError::kAvailIndexJumped:
      return "more buffers available than the queue holds";
    case RingError::kBadDescriptor:
      return "a descriptor index behind the end of the table";
    case RingError::kLoop:
      return "a descriptor chain longer than the queue";
    case RingError::kBadIndirect:
      return "an indirect table that is not allowed";
    case RingError::kReadableAfterWritable:
      return "a readable buffer after a writable one";
    case RingError::kBadBuffer:
      return "a buffer that is empty or too large";
  }
  return "an unknown error";
}

template <class T>
bool SplitQueue::Load(Gpa gpa, T& value) {
  return memory_.Read(gpa, std::as_writable_bytes(std::span(&value, 1))) == AccessResult::kOk ||
         Break(RingError::kOutsideMemory);
}

template <class T>
bool SplitQueue::Store(Gpa gpa, T value) {
  return memory_.Write(gpa, std::as_bytes(std::span(&value, 1))) == AccessResult::kOk ||
         Break(RingError::kOutsideMemory);
}

bool SplitQueue::IsValid(const Layout& layout) {
  // The sizes of §2.7: 16 bytes a descriptor, 6 + 2 a available entry, 6 + 8 a used one.
  return layout.size != 0 && layout.size <= kMaxSize && std::has_single_bit(layout.size) &&
         IsAligned(layout.descriptors, Bytes(16)) && IsAligned(layout.driver_area, Bytes(2)) &&
         IsAligned(layout.device_area, Bytes(4)) && GpaRange::Make(layout.descriptors, Bytes(16 * kMaxSize)) &&
         GpaRange::Make(layout.driver_area, Bytes(6 + 2 * kMaxSize)) &&
         GpaRange::Make(layout.device_area, Bytes(6 + 8 * kMaxSize));
}

void SplitQueue::Start(const Layout& layout) {
  layout_ = layout;
  running_ = true;
  error_ = RingError::kNone;
  next_avail_ = seen_avail_ = next_used_ = signalled_used_ = 0;
}

void SplitQueue::Stop() {
  running_ = false;
  error_ = RingError::kNone;
}

bool SplitQueue::Pop(DescriptorChain& chain) {
  chain.readable.clear();
  chain.writable.clear();
  if (!running() || budget_ == 0) return false;
  if (seen_avail_ == next_avail_) {
    if (!Load(layout_.driver_area + Bytes(kIndex), seen_avail_)) return false;
    if (static_cast<uint16_t>(seen_avail_ - next_avail_) > layout_.size) return Break(RingError::kAvailIndexJumped);
    if (seen_avail_ == next_avail_) return false;
    // The ring entry is read after the index that announced it.
    std::atomic_thread_fence(std::memory_order_acquire);
  }
  if (!Load(AvailRing(next_avail_ % layout_.size), chain.head)) return false;
  if (chain.head >= layout_.size) return Break(RingError::kBadDescriptor);
  Descriptor first;
  if (!Load(layout_.descriptors + Bytes(16 * uint64_t{chain.head}), first)) return false;
  if (!WalkTable(first, chain)) return false;
  if (TotalSize(chain.readable) + TotalSize(chain.writable) > UINT32_MAX) return Break(RingError::kBadBuffer);
  ++next_avail_;
  --budget_;
  return true;
}

bool SplitQueue::Refill() { return std::exchange(budget_, kBudget) == 0; }

bool SplitQueue::WalkTable(Descriptor descriptor, DescriptorChain& chain) {
  for (unsigned length = 1;; ++length) {
    if (length > layout_.size) return Break(RingError::kLoop);
    if ((descriptor.flags & VRING_DESC_F_INDIRECT) != 0) return WalkIndirect(descriptor, chain);
    if (!AddBuffer(descriptor, chain)) return false;
    if ((descriptor.flags & VRING_DESC_F_NEXT) == 0) return true;
    if (descriptor.next >= layout_.size) return Break(RingError::kBadDescriptor);
    if (!Load(layout_.descriptors + Bytes(16 * uint64_t{descriptor.next}), descriptor)) return false;
  }
}

bool SplitQueue::WalkIndirect(const Descriptor& table, DescriptorChain& chain) {
  // Ends the chain (§2.7.5.3.1), and the whole chain is no longer than the queue, so no more of the table counts.
  const unsigned count = table.size / sizeof(Descriptor);
  if (!layout_.indirect || count == 0 || table.size % sizeof(Descriptor) != 0 ||
      (table.flags & VRING_DESC_F_NEXT) != 0) {
    return Break(RingError::kBadIndirect);
  }
  const auto left = static_cast<unsigned>(layout_.size - chain.readable.size() - chain.writable.size());
  std::array<Descriptor, kMaxSize> copy;
  const std::span entries = std::span(copy).first(std::min(count, static_cast<unsigned>(layout_.size)));
  if (!GpaRange::Make(Gpa(table.address), Bytes(entries.size_bytes())) ||
      memory_.Read(Gpa(table.address), std::as_writable_bytes(entries)) != AccessResult::kOk) {
    return Break(RingError::kOutsideMemory);
  }
  unsigned index = 0;
  for (unsigned length = 1;; ++length) {
    if (length > left) return Break(RingError::kLoop);
    const Descriptor& descriptor = entries[index];
    if ((descriptor.flags & VRING_DESC_F_INDIRECT) != 0) return Break(RingError::kBadIndirect);
    if (!AddBuffer(descriptor, chain)) return false;
    if ((descriptor.flags & VRING_DESC_F_NEXT) == 0) return true;
    index = descriptor.next;
    if (index >= entries.size()) return Break(RingError::kBadDescriptor);
  }
}

bool SplitQueue::AddBuffer(const Descriptor& descriptor, DescriptorChain& chain) {
  const bool writable = (descriptor.flags & VRING_DESC_F_WRITE) != 0;
  const auto range = GpaRange::Make(Gpa(descriptor.address), Bytes(descriptor.size));
  if (descriptor.size == 0 || !range) return Break(RingError::kBadBuffer);
  if (!writable && !chain.writable.empty()) return Break(RingError::kReadableAfterWritable);
  (writable ? chain.writable : chain.readable).push_back(*range);
  return true;
}

void SplitQueue::Push(uint16_t head, uint32_t written) {
  if (!running()) return;
  const std::array<uint32_t, 2> element = {head, written};
  if (!Store(UsedRing(next_used_ % layout_.size), element)) return;
  ++next_used_;
  // The element is visible before the index that announces it.
  std::atomic_thread_fence(std::memory_order_release);
  Store(layout_.device_area + Bytes(kIndex), next_used_);
}

void SplitQueue::DisableNotifications() {
  // With event indices, the one left behind asks for none.
  if (running() && !layout_.event_idx) Store<uint16_t>(layout_.device_area + Bytes(kFlags), VRING_USED_F_NO_NOTIFY);
}

bool SplitQueue::EnableNotifications() {
  // Out of budget, whoever refills it looks again.
  if (!running() || budget_ == 0) return false;
  if (layout_.event_idx) {
    if (!Store(UsedRing(layout_.size), next_avail_)) return false;
  } else if (!Store<uint16_t>(layout_.device_area + Bytes(kFlags), 0)) {
    return false;
  }
  // Either the driver sees that it must notify, or we see what it added before it looked.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  uint16_t index = 0;
  return Load(layout_.driver_area + Bytes(kIndex), index) && index != next_avail_;
}

bool SplitQueue::NeedsInterrupt() {
  if (!running() || next_used_ == signalled_used_) return false;
  // The index just stored is visible before the driver's wish is read.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const uint16_t before = std::exchange(signalled_used_, next_used_);
  uint16_t wish = 0;
  if (!layout_.event_idx) {
    return Load(layout_.driver_area + Bytes(kFlags), wish) && (wish & VRING_AVAIL_F_NO_INTERRUPT) == 0;
  }
  return Load(AvailRing(layout_.size), wish) && vring_need_event(wish, next_used_, before) != 0;
}

}  // namespace faultline
