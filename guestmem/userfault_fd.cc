#include "guestmem/userfault_fd.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "guestmem/error.h"

#ifndef USERFAULTFD_IOC_NEW  // Linux 6.1
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

namespace faultline {
namespace {

constexpr const char* kDevice = "/dev/userfaultfd";

int OpenRaw(Host& host) {
  const int device = host.Open(kDevice, O_RDWR | O_CLOEXEC, 0);
  if (device >= 0) {
    const int fd = host.Ioctl(device, USERFAULTFD_IOC_NEW, uintptr_t{O_CLOEXEC | O_NONBLOCK});
    host.Close(device);
    return fd;
  }
  if (device != -ENOENT && device != -EACCES && device != -EPERM) return device;
  // Faults that the kernel takes for KVM need the full kind, which is for root or by sysctl.
  const long fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  return fd < 0 ? -errno : static_cast<int>(fd);
}

}  // namespace

UserfaultFd UserfaultFd::Open(Host& host) {
  const int raw = OpenRaw(host);
  if (raw == -EPERM || raw == -EACCES) {
    throw Error(
        "no permission to use userfaultfd: give this user access to /dev/userfaultfd, or set the sysctl "
        "vm.unprivileged_userfaultfd to 1, or run as root");
  }
  if (raw == -ENOSYS || raw == -ENOENT) {
    throw Error("this kernel has no userfaultfd: use one built with CONFIG_USERFAULTFD");
  }
  if (raw < 0) throw Error("cannot open a userfaultfd: " + ErrnoText(-raw));
  FileDescriptor fd(host, raw);
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MISSING_HUGETLBFS;
  if (const int result = host.Ioctl(fd.get(), UFFDIO_API, &api); result < 0) {
    throw Error("the kernel's userfaultfd lacks thread ids or shared memory (Linux 4.14 or newer has them): " +
                ErrnoText(-result));
  }
  return UserfaultFd(host, std::move(fd));
}

int UserfaultFd::Register(HvaRange range) noexcept {
  uffdio_register argument{};
  argument.range = {range.start.value, range.size.value};
  argument.mode = UFFDIO_REGISTER_MODE_MISSING;
  return host_->Ioctl(fd_.get(), UFFDIO_REGISTER, &argument);
}

Installed UserfaultFd::Copy(Hva to, const std::byte* from, Bytes size) noexcept {
  uffdio_copy argument{};
  argument.dst = to.value;
  argument.src = ToHva(from).value;
  argument.len = size.value;
  const int result = host_->Ioctl(fd_.get(), UFFDIO_COPY, &argument);
  if (result >= 0) return {InstallResult::kInstalled, size};
  // A positive count with EAGAIN is a partial copy; what stopped it shows at the next page.
  const Bytes done(result == -EAGAIN && argument.copy > 0 ? static_cast<uint64_t>(argument.copy) : 0);
  if (done > Bytes(0)) return {InstallResult::kInstalled, done};
  switch (result) {
    case -EEXIST:
      return {InstallResult::kExists, done};
    case -EAGAIN:
    case -EINTR:
      return {InstallResult::kBusy, done};
    case -ENOENT:
    case -ESRCH:
      return {InstallResult::kGone, done};
    case -ENOMEM:
      return {InstallResult::kNoMemory, done};
    default:
      return {InstallResult::kFailed, done};
  }
}

void UserfaultFd::Wake(HvaRange range) noexcept {
  // A lost wake is a vCPU that sleeps for ever: try again on what can only be a passing failure.
  for (unsigned attempt = 0; attempt < 8; ++attempt) {
    uffdio_range argument{range.start.value, range.size.value};
    if (host_->Ioctl(fd_.get(), UFFDIO_WAKE, &argument) >= 0) return;
  }
}

int UserfaultFd::Read(std::span<uffd_msg> messages) noexcept {
  const int64_t n = host_->Read(fd_.get(), messages.data(), messages.size_bytes());
  if (n == -EAGAIN) return 0;
  return n < 0 ? static_cast<int>(n) : static_cast<int>(static_cast<size_t>(n) / sizeof(uffd_msg));
}

}  // namespace faultline
