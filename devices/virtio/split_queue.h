// The device's side of a split virtqueue (virtio 1.2 §2.7), with indirect descriptors and event indices.
//
// Owned by a VirtioDevice, whose lock guards it. Everything in guest memory is read once, into host memory,
// and believed only as far as it was checked: a ring that makes no sense breaks the queue (broken() says
// why), and a broken queue stays empty until Start. Blocks only as GuestMemory does.
#pragma once

#include <cstdint>

#include "devices/virtio/descriptor_chain.h"
#include "guestmem/guest_memory.h"
#include "guestmem/types.h"

namespace faultline {

enum class RingError : uint8_t {
  kNone,
  kOutsideMemory,     // a ring or a descriptor table lies outside guest memory
  kAvailIndexJumped,  // more buffers made available than the queue has room for
  kBadDescriptor,     // an index behind the end of its table
  kLoop,              // a chain longer than the queue: it loops
  kBadIndirect,       // a table that is empty, of odd size, nested, or not negotiated
  kReadableAfterWritable,
  kBadBuffer,  // empty, wrapping around, or 4 GiB and more in all
};
const char* RingErrorText(RingError error);

class SplitQueue {
 public:
  static constexpr uint16_t kMaxSize = 256;

  struct Layout {
    uint16_t size = 0;  // entries, a power of two up to kMaxSize
    Gpa descriptors;    // 16-byte aligned
    Gpa driver_area;    // "available" ring, 2-byte aligned
    Gpa device_area;    // "used" ring, 4-byte aligned
    bool event_idx = false;
    bool indirect = false;
  };
  static bool IsValid(const Layout& layout);

  explicit SplitQueue(GuestMemory& memory) : memory_(memory) {}

  // `layout` is valid. Starts at index 0 of both rings.
  void Start(const Layout& layout);
  void Stop();
  bool running() const { return running_ && error_ == RingError::kNone; }
  RingError broken() const { return error_; }

  // The next chain the driver made available; false when there is none or the queue is or becomes broken.
  bool Pop(DescriptorChain& chain);
  // Returns the chain just popped to the ring: the next Pop finds it again. Only before any later Pop.
  void PutBack() {
    --next_avail_;
    ++budget_;
  }
  // A driver could keep Pop busy for ever, with rings that lie on top of each other: after kBudget chains it
  // finds nothing more until Refill. True when that happened since the last Refill.
  static constexpr unsigned kBudget = 2 * kMaxSize;
  bool Refill();
  // Returns a buffer to the driver, `written` bytes of it written.
  void Push(uint16_t head, uint32_t written);

  // Asks the driver to notify again. True when buffers came in meanwhile: look again.
  bool EnableNotifications();
  void DisableNotifications();
  // Whether the buffers pushed since the last call call for an interrupt (§2.7.7.2, §2.7.10).
  bool NeedsInterrupt();

 private:
  struct Descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t flags;
    uint16_t next;
  };
  static_assert(sizeof(Descriptor) == 16);

  bool Break(RingError error) {
    error_ = error;
    return false;
  }
  template <class T>
  bool Load(Gpa gpa, T& value);
  template <class T>
  bool Store(Gpa gpa, T value);
  bool WalkTable(Descriptor descriptor, DescriptorChain& chain);
  bool WalkIndirect(const Descriptor& table, DescriptorChain& chain);
  bool AddBuffer(const Descriptor& descriptor, DescriptorChain& chain);
  Gpa AvailRing(unsigned index) const { return layout_.driver_area + Bytes(4 + 2 * uint64_t{index}); }
  Gpa UsedRing(unsigned index) const { return layout_.device_area + Bytes(4 + 8 * uint64_t{index}); }

  GuestMemory& memory_;
  Layout layout_;
  bool running_ = false;
  RingError error_ = RingError::kNone;
  uint16_t next_avail_ = 0;  // free-running, as all indices of a split ring
  uint16_t seen_avail_ = 0;  // the driver's index when it was last read
  uint16_t next_used_ = 0;
  unsigned budget_ = kBudget;
  uint16_t signalled_used_ = 0;  // next_used_ at the last NeedsInterrupt
};

}  // namespace faultline
