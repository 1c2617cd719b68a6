// One userfaultfd: registration, installation, waking. A thin skin over the kernel's interface.
//
// Source: Linux Documentation/admin-guide/mm/userfaultfd.rst, ioctl_userfaultfd(2).
#pragma once

#include <linux/userfaultfd.h>

#include <span>

#include "guestmem/host.h"
#include "guestmem/page_installer.h"
#include "guestmem/types.h"

namespace faultline {

class UserfaultFd {
 public:
  // Opens one: /dev/userfaultfd first, the system call where that device is absent. Throws Error with
  // the way out when neither is allowed.
  static UserfaultFd Open(Host& host);

  int fd() const { return fd_.get(); }

  // Missing faults in `range` become messages. 0 or -errno.
  int Register(HvaRange range) noexcept;
  Installed Copy(Hva to, const std::byte* from, Bytes size) noexcept;
  void Wake(HvaRange range) noexcept;
  // Reads what is queued without blocking: the number of messages, 0 when there is none, or -errno.
  int Read(std::span<uffd_msg> messages) noexcept;

 private:
  UserfaultFd(Host& host, FileDescriptor fd) : host_(&host), fd_(std::move(fd)) {}

  Host* host_;
  FileDescriptor fd_;
};

}  // namespace faultline
