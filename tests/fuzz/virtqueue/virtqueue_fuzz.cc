// Rings of any content: the input is a page with everything in it, descriptors, both rings and buffers.
#include <algorithm>
#include <cstdlib>

#include "devices/virtio/split_queue.h"
#include "tests/devices/virtio/virtio_world.h"

namespace faultline {
namespace {

constexpr Gpa kPage{0x1000};
constexpr size_t kHeader = 4;

GuestMemory& Memory() {
  static NobodyListens listener;
  static GuestMemory* const memory = [] {
    auto* made = new GuestMemory(Host::System(), listener, VirtioWorld::Plain());
    made->Plug({.name = "ram", .gpa = {Gpa(0), 2_MiB}, .backing = {}, .source = nullptr, .read_only = false});
    return made;
  }();
  return *memory;
}

void Expect(bool holds) {
  if (!holds) abort();
}

void Run(std::span<const std::byte> input) {
  if (input.size() < kHeader) return;
  // Size and options first, then where the rings lie in the page.
  const auto byte = [&](size_t at) { return std::to_integer<unsigned>(input[at]); };
  SplitQueue::Layout layout;
  layout.size = static_cast<uint16_t>(1U << byte(0) % 9);
  layout.event_idx = (byte(0) & 0x40) != 0;
  layout.indirect = (byte(0) & 0x80) != 0;
  layout.descriptors = kPage + Bytes(byte(1) * 16);
  layout.driver_area = kPage + Bytes(byte(2) * 16);
  layout.device_area = kPage + Bytes(byte(3) * 16);
  Expect(SplitQueue::IsValid(layout));
  GuestMemory& memory = Memory();
  const auto content = input.subspan(kHeader, std::min<size_t>(input.size() - kHeader, 16384));
  Expect(memory.Write(kPage, content) == AccessResult::kOk);

  SplitQueue queue(memory);
  queue.Start(layout);
  DescriptorChain chain;
  unsigned popped = 0;
  for (int round = 0; round < 4; ++round) {
    queue.DisableNotifications();
    while (queue.Pop(chain)) {
      ++popped;
      Expect(chain.head < layout.size);
      Expect(chain.readable.size() + chain.writable.size() <= layout.size);
      Expect(TotalSize(chain.readable) + TotalSize(chain.writable) <= UINT32_MAX);
      const std::vector<Segment> slice = Slice(chain.writable, 3, 1000);
      Expect(TotalSize(slice) <= 1000);
      std::byte bytes[16] = {};
      CopyIn(memory, chain.readable, 1, bytes);
      CopyOut(memory, chain.writable, 1, bytes);
      queue.Push(chain.head, 16);
    }
    queue.NeedsInterrupt();
    if (!queue.EnableNotifications()) break;
  }
  Expect(popped <= SplitQueue::kBudget);
  // What was broken stays so until it is started anew.
  if (queue.broken() != RingError::kNone) Expect(!queue.Pop(chain));
}

}  // namespace
}  // namespace faultline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  faultline::Run(std::as_bytes(std::span(data, size)));
  return 0;
}
