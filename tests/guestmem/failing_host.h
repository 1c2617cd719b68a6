// A Host that passes every call on to another one, fails the calls a test picks, and keeps books of what
// was opened and mapped, so that a test sees a leak as a number.
//
// Thread-safe. Arm and Disarm may be called at any time; a call under way is judged by either setting.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <bitset>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "guestmem/host.h"
#include "guestmem/mutex.h"

namespace faultline {

enum class HostCallKind : uint8_t {
  kMmap,
  kMunmap,
  kMadvise,
  kMprotect,
  kOpen,
  kMemfdCreate,
  kFtruncate,
  kFallocate,
  kRead,
  kWrite,
  kPread,
  kPoll,
  kEventFd,
  kIoctl,
};

struct HostCall {
  HostCallKind kind;
  unsigned long detail = 0;  // kIoctl: the request; kMadvise: the advice
  int fd = -1;               // kIoctl
  uintptr_t argument = 0;    // kIoctl
  std::thread::id thread = std::this_thread::get_id();
};

using HostCallFilter = std::function<bool(const HostCall&)>;

// Calls of the thread that makes the filter: those of background threads come in no particular order.
inline HostCallFilter CallsOfThisThread() {
  return [me = std::this_thread::get_id()](const HostCall& call) { return call.thread == me; };
}
inline HostCallFilter CallsOfKind(HostCallKind kind) {
  return [kind](const HostCall& call) { return call.kind == kind; };
}
inline HostCallFilter Ioctls(unsigned long request) {
  return [request](const HostCall& call) { return call.kind == HostCallKind::kIoctl && call.detail == request; };
}

// Stands beneath every lock of the project: a host call may be made with any of them held.
class CAPABILITY("mutex") OutsideLockOrder {
 public:
  void Lock() ACQUIRE() { mutex_.lock(); }
  void Unlock() RELEASE() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class FailingHost final : public Host {
 public:
  explicit FailingHost(Host& inner = Host::System()) : inner_(inner) {}

  // Fails the `nth` call (from 1) that `filter` accepts, counted from now, with -`error`; with `error` 0
  // only counts. `times` of them in a row fail.
  void Arm(uint64_t nth, int error, HostCallFilter filter, uint64_t times = 1) {
    MutexLock lock(mutex_);
    filter_ = std::move(filter);
    nth_ = nth;
    times_ = times;
    error_ = error;
    seen_ = 0;
    fired_ = 0;
  }
  void Count(HostCallFilter filter) { Arm(0, 0, std::move(filter)); }
  void Disarm() {
    MutexLock lock(mutex_);
    filter_ = nullptr;
  }
  // Calls accepted by the filter, and calls failed, since Arm.
  uint64_t seen() const {
    MutexLock lock(mutex_);
    return seen_;
  }
  uint64_t fired() const {
    MutexLock lock(mutex_);
    return fired_;
  }

  // Runs before each call, on the caller's thread, outside the lock.
  void set_before(std::function<void(const HostCall&)> before) {
    MutexLock lock(mutex_);
    before_ = std::make_shared<const std::function<void(const HostCall&)>>(std::move(before));
  }

  // The books.
  size_t open_descriptors() const {
    MutexLock lock(mutex_);
    return descriptors_.count();
  }
  Bytes mapped() const {
    MutexLock lock(mutex_);
    return mapped_;
  }

  int64_t Mmap(uint64_t address, Bytes size, int prot, int flags, int fd, Bytes offset) noexcept override {
    if (const int error = Judge({HostCallKind::kMmap})) return error;
    const int64_t result = inner_.Mmap(address, size, prot, flags, fd, offset);
    if (result >= 0 && (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) == 0) {
      MutexLock lock(mutex_);
      mapped_ += size;
    }
    return result;
  }
  int Munmap(HvaRange range) noexcept override {
    if (const int error = Judge({HostCallKind::kMunmap})) return error;
    const int result = inner_.Munmap(range);
    if (result == 0) {
      MutexLock lock(mutex_);
      mapped_ -= range.size;
    }
    return result;
  }
  int Madvise(HvaRange range, int advice) noexcept override {
    if (const int error = Judge({HostCallKind::kMadvise, static_cast<unsigned long>(advice)})) return error;
    return inner_.Madvise(range, advice);
  }
  int Mprotect(HvaRange range, int prot) noexcept override {
    if (const int error = Judge({HostCallKind::kMprotect})) return error;
    return inner_.Mprotect(range, prot);
  }
  int Open(const char* path, int flags, unsigned mode) noexcept override {
    if (const int error = Judge({HostCallKind::kOpen})) return error;
    return Opened(inner_.Open(path, flags, mode));
  }
  int MemfdCreate(const char* name, unsigned flags) noexcept override {
    if (const int error = Judge({HostCallKind::kMemfdCreate})) return error;
    return Opened(inner_.MemfdCreate(name, flags));
  }
  int Ftruncate(int fd, Bytes size) noexcept override {
    if (const int error = Judge({HostCallKind::kFtruncate})) return error;
    return inner_.Ftruncate(fd, size);
  }
  int Fallocate(int fd, int mode, Bytes offset, Bytes size) noexcept override {
    if (const int error = Judge({HostCallKind::kFallocate})) return error;
    return inner_.Fallocate(fd, mode, offset, size);
  }
  void Close(int fd) noexcept override {
    {
      MutexLock lock(mutex_);
      Mark(fd, false);
    }
    inner_.Close(fd);
  }
  int64_t Read(int fd, void* out, size_t size) noexcept override {
    if (const int error = Judge({HostCallKind::kRead})) return error;
    return inner_.Read(fd, out, size);
  }
  int64_t Write(int fd, const void* data, size_t size) noexcept override {
    if (const int error = Judge({HostCallKind::kWrite})) return error;
    return inner_.Write(fd, data, size);
  }
  int64_t Pread(int fd, void* out, size_t size, Bytes offset) noexcept override {
    if (const int error = Judge({HostCallKind::kPread})) return error;
    return inner_.Pread(fd, out, size, offset);
  }
  int Poll(pollfd* fds, unsigned count, int timeout_ms) noexcept override {
    if (const int error = Judge({HostCallKind::kPoll})) return error;
    return inner_.Poll(fds, count, timeout_ms);
  }
  int EventFd(unsigned initial, int flags) noexcept override {
    if (const int error = Judge({HostCallKind::kEventFd})) return error;
    return Opened(inner_.EventFd(initial, flags));
  }
  using Host::Ioctl;
  int Ioctl(int fd, unsigned long request, uintptr_t argument) noexcept override {
    if (const int error = Judge({HostCallKind::kIoctl, request, fd, argument})) return error;
    const int result = inner_.Ioctl(fd, request, argument);
    // A /dev/userfaultfd request that makes a descriptor.
    if (result > 2 && makes_descriptor_ != 0 && request == makes_descriptor_) return Opened(result);
    return result;
  }
  // An ioctl whose result is a new descriptor, for the books.
  void set_ioctl_that_opens(unsigned long request) { makes_descriptor_ = request; }

 private:
  int Opened(int fd) noexcept {
    if (fd >= 0) {
      MutexLock lock(mutex_);
      Mark(fd, true);
    }
    return fd;
  }
  // Allocates nothing: the allocation that a test has fail is not one of the books'.
  void Mark(int fd, bool open) noexcept REQUIRES(mutex_) {
    if (fd >= 0 && static_cast<size_t>(fd) < descriptors_.size()) descriptors_[static_cast<size_t>(fd)] = open;
  }
  // 0 to go on, or -errno.
  int Judge(const HostCall& call) noexcept {
    std::shared_ptr<const std::function<void(const HostCall&)>> before;
    {
      MutexLock lock(mutex_);
      before = before_;
    }
    if (before) (*before)(call);
    MutexLock lock(mutex_);
    if (!filter_ || !filter_(call)) return 0;
    ++seen_;
    if (error_ == 0 || seen_ < nth_ || seen_ >= nth_ + times_) return 0;
    ++fired_;
    return -error_;
  }

  Host& inner_;
  std::atomic<unsigned long> makes_descriptor_{0};
  mutable OutsideLockOrder mutex_;
  std::shared_ptr<const std::function<void(const HostCall&)>> before_ GUARDED_BY(mutex_);
  HostCallFilter filter_ GUARDED_BY(mutex_);
  uint64_t nth_ GUARDED_BY(mutex_) = 0;
  uint64_t times_ GUARDED_BY(mutex_) = 1;
  uint64_t seen_ GUARDED_BY(mutex_) = 0;
  uint64_t fired_ GUARDED_BY(mutex_) = 0;
  int error_ GUARDED_BY(mutex_) = 0;
  std::bitset<4096> descriptors_ GUARDED_BY(mutex_);
  Bytes mapped_ GUARDED_BY(mutex_);
};

}  // namespace faultline
