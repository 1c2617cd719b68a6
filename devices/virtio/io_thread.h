// A thread that waits for file descriptors: one for each virtio device.
//
// Owned by the device. `on_ready` runs on the thread, with no lock held, once for each descriptor that is
// readable; level-triggered, so it reads what it was called for or unwatches it. Watch and Unwatch are safe
// from any thread; a call of on_ready for a descriptor may still come after it was unwatched.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "guestmem/host.h"

namespace faultline {

class IoThread {
 public:
  // `name`: at most 15 bytes, for the host's process list. Throws Error when the host gives no epoll.
  IoThread(Host& host, const std::string& name, std::function<void(int fd)> on_ready);
  // Ends the thread and waits for it.
  ~IoThread();
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  // Both ignore what the kernel refuses: a descriptor that cannot be waited for never becomes ready.
  void Watch(int fd) noexcept;
  void Unwatch(int fd) noexcept;

 private:
  void Run() noexcept;

  Host& host_;
  const std::function<void(int fd)> on_ready_;
  FileDescriptor epoll_;
  FileDescriptor stop_;
  std::thread thread_;
};

}  // namespace faultline
