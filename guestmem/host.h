// The host's system calls as the project sees them: one seam, so that tests can fail the Nth call.
//
// Every call returns a value >= 0, or -errno. EINTR is returned as it comes, except where noted.
// Implementations are stateless and thread-safe; each call blocks as its system call does.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "guestmem/types.h"

namespace faultline {

class Host {
 public:
  virtual ~Host() = default;

  // The address of the mapping, or -errno. `address` 0 lets the kernel choose.
  virtual int64_t Mmap(uint64_t address, Bytes size, int prot, int flags, int fd, Bytes offset) noexcept = 0;
  virtual int Munmap(HvaRange range) noexcept = 0;
  virtual int Madvise(HvaRange range, int advice) noexcept = 0;
  virtual int Mprotect(HvaRange range, int prot) noexcept = 0;

  virtual int Open(const char* path, int flags, unsigned mode) noexcept = 0;
  virtual int MemfdCreate(const char* name, unsigned flags) noexcept = 0;
  virtual int Ftruncate(int fd, Bytes size) noexcept = 0;
  virtual int Fallocate(int fd, int mode, Bytes offset, Bytes size) noexcept = 0;
  virtual void Close(int fd) noexcept = 0;
  virtual int64_t Read(int fd, void* out, size_t size) noexcept = 0;
  virtual int64_t Write(int fd, const void* data, size_t size) noexcept = 0;
  virtual int64_t Pread(int fd, void* out, size_t size, Bytes offset) noexcept = 0;
  virtual int Poll(pollfd* fds, unsigned count, int timeout_ms) noexcept = 0;
  virtual int EventFd(unsigned initial, int flags) noexcept = 0;

  // ioctl(2); `argument` is whatever the request takes, an integer or a pointer in one word. Covers
  // userfaultfd and KVM alike.
  virtual int Ioctl(int fd, unsigned long request, uintptr_t argument) noexcept = 0;

  int Ioctl(int fd, unsigned long request, void* argument) noexcept {
    return Ioctl(fd, request, reinterpret_cast<uintptr_t>(argument));
  }

  // The real one.
  static Host& System() noexcept;
};

// A file descriptor that closes itself. Move-only.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  FileDescriptor(Host& host, int fd) : host_(&host), fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : host_(other.host_), fd_(other.Release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      Reset();
      host_ = other.host_;
      fd_ = other.Release();
    }
    return *this;
  }
  ~FileDescriptor() { Reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int Release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  void Reset() {
    if (fd_ >= 0) host_->Close(fd_);
    fd_ = -1;
  }

 private:
  Host* host_ = nullptr;
  int fd_ = -1;
};

}  // namespace faultline
