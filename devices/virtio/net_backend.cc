#include "devices/virtio/net_backend.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace faultline {

NetBackend::NetBackend(FileDescriptor frames) : frames_(std::move(frames)) {
  fcntl(frames_.get(), F_SETFL, fcntl(frames_.get(), F_GETFL) | O_NONBLOCK);
}

int64_t NetBackend::Receive(std::span<std::byte> frame) noexcept {
  for (;;) {
    const ssize_t size = read(frames_.get(), frame.data(), frame.size());
    if (size > 0) return size;
    if (size < 0 && errno == EINTR) continue;
    return size < 0 && errno == EAGAIN ? kNone : kGone;
  }
}

void NetBackend::Send(std::span<const std::byte> frame) noexcept {
  while (write(frames_.get(), frame.data(), frame.size()) < 0 && errno == EINTR) {
  }
}

}  // namespace faultline
