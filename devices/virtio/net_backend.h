// Where a network card's frames go and come from: a descriptor that carries one Ethernet frame a read or
// write, such as a tap interface or a SOCK_SEQPACKET socket to the user networking helper.
//
// Owned by its network device, whose lock guards it. Nothing here blocks. Makers: devices/virtio/devices.h.
#pragma once

#include <cstdint>
#include <span>

#include "guestmem/host.h"

namespace faultline {

class NetBackend {
 public:
  // An Ethernet frame without its check sequence, with a VLAN tag.
  static constexpr size_t kMaxFrame = 1518;

  static constexpr size_t kMaxHeader = 16;
  // `frames`: made non-blocking here. `header`: how many bytes lie before each frame on it, written as zeroes and not
  // looked at; kMaxHeader at most.
  explicit NetBackend(FileDescriptor frames, size_t header = 0);
  virtual ~NetBackend() = default;
  NetBackend(const NetBackend&) = delete;
  NetBackend& operator=(const NetBackend&) = delete;

  // Readable when Receive has something to say.
  int fd() const { return frames_.get(); }

  static constexpr int64_t kNone = -1;
  static constexpr int64_t kGone = -2;
  // The next frame's size, cut off at the buffer's; kNone when there is none now, kGone when there will
  // never be one again.
  int64_t Receive(std::span<std::byte> frame) noexcept;
  // Drops the frame when the other side has no room for it, as a wire would.
  void Send(std::span<const std::byte> frame) noexcept;

 protected:
  // The other side sees that this one is gone.
  void Close() { frames_.Reset(); }

 private:
  FileDescriptor frames_;
  const size_t header_;
};

}  // namespace faultline
