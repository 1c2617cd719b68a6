#include "devices/virtio/net_backend.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace faultline {

NetBackend::NetBackend(FileDescriptor frames, size_t header) : frames_(std::move(frames)), header_(header) {
  fcntl(frames_.get(), F_SETFL, fcntl(frames_.get(), F_GETFL) | O_NONBLOCK);
}

int64_t NetBackend::Receive(std::span<std::byte> frame) noexcept {
  std::array<std::byte, kMaxHeader> header;
  const std::array<iovec, 2> parts{{{header.data(), header_}, {frame.data(), frame.size()}}};
  for (;;) {
    const ssize_t size = readv(frames_.get(), parts.data(), parts.size());
    if (size > static_cast<ssize_t>(header_)) return size - static_cast<ssize_t>(header_);
    if (size < 0 && errno == EINTR) continue;
    return size < 0 && errno == EAGAIN ? kNone : kGone;
  }
}

void NetBackend::Send(std::span<const std::byte> frame) noexcept {
  std::array<std::byte, kMaxHeader> header = {};
  // writev only reads.
  auto* const data = const_cast<std::byte*>(frame.data());
  const std::array<iovec, 2> parts{{{header.data(), header_}, {data, frame.size()}}};
  while (writev(frames_.get(), parts.data(), parts.size()) < 0 && errno == EINTR) {
  }
}

}  // namespace faultline
