#include "guestmem/host.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace faultline {
namespace {

template <class T>
T OrErrno(T result) {
  return result < 0 ? static_cast<T>(-errno) : result;
}

class SystemHost final : public Host {
 public:
  int64_t Mmap(uint64_t address, Bytes size, int prot, int flags, int fd, Bytes offset) noexcept override {
    void* p = mmap(ToPointer(Hva(address)), size.value, prot, flags, fd, static_cast<off_t>(offset.value));
    return p == MAP_FAILED ? -errno : static_cast<int64_t>(ToHva(p).value);
  }
  int Munmap(HvaRange range) noexcept override { return OrErrno(munmap(ToPointer(range.start), range.size.value)); }
  int Madvise(HvaRange range, int advice) noexcept override {
    return OrErrno(madvise(ToPointer(range.start), range.size.value, advice));
  }
  int Mprotect(HvaRange range, int prot) noexcept override {
    return OrErrno(mprotect(ToPointer(range.start), range.size.value, prot));
  }
  int Open(const char* path, int flags, unsigned mode) noexcept override { return OrErrno(open(path, flags, mode)); }
  int MemfdCreate(const char* name, unsigned flags) noexcept override { return OrErrno(memfd_create(name, flags)); }
  int Ftruncate(int fd, Bytes size) noexcept override { return OrErrno(ftruncate(fd, static_cast<off_t>(size.value))); }
  int Fallocate(int fd, int mode, Bytes offset, Bytes size) noexcept override {
    return OrErrno(fallocate(fd, mode, static_cast<off_t>(offset.value), static_cast<off_t>(size.value)));
  }
  void Close(int fd) noexcept override { close(fd); }
  int64_t Read(int fd, void* out, size_t size) noexcept override { return OrErrno<int64_t>(read(fd, out, size)); }
  int64_t Write(int fd, const void* data, size_t size) noexcept override {
    return OrErrno<int64_t>(write(fd, data, size));
  }
  int64_t Pread(int fd, void* out, size_t size, Bytes offset) noexcept override {
    return OrErrno<int64_t>(pread(fd, out, size, static_cast<off_t>(offset.value)));
  }
  int Poll(pollfd* fds, unsigned count, int timeout_ms) noexcept override {
    return OrErrno(poll(fds, count, timeout_ms));
  }
  int EventFd(unsigned initial, int flags) noexcept override { return OrErrno(eventfd(initial, flags)); }
  int Ioctl(int fd, unsigned long request, uintptr_t argument) noexcept override {
    return OrErrno(ioctl(fd, request, argument));
  }
};

}  // namespace

Host& Host::System() noexcept {
  static SystemHost host;
  return host;
}

}  // namespace faultline
