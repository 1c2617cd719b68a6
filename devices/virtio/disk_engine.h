// Carries out the I/O of a disk: through io_uring where the host has it, otherwise on the caller's thread.
//
// Owned by a block device, whose lock guards it. Submit starts an operation; Reap tells which have ended.
// With io_uring neither blocks; without, Submit does the work and Reap tells of it at once.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "guestmem/host.h"
#include "guestmem/types.h"

namespace faultline {

struct DiskOperation {
  enum class Kind : uint8_t { kRead, kWrite, kFlush, kAllocate };
  Kind kind = Kind::kRead;
  Bytes offset = {};
  Bytes size = {};                      // kAllocate
  std::span<const iovec> buffers = {};  // kRead, kWrite; stay valid until the operation ended
  int mode = 0;                         // kAllocate: of fallocate(2)
  uint64_t tag = 0;                     // names the operation when it ended
};

class DiskEngine {
 public:
  virtual ~DiskEngine() = default;
  // Becomes readable when Reap has something to tell; -1: call Reap after each Submit.
  virtual int fd() const = 0;
  // False when no more can be under way until some have been reaped.
  virtual bool Submit(const DiskOperation& operation) = 0;
  // Calls `ended(tag, result)` for each operation that ended: bytes moved, or -errno. With `wait`, waits for
  // at least one when any is under way.
  virtual void Reap(bool wait, const std::function<void(uint64_t tag, int64_t result)>& ended) = 0;
};

// `depth`: how many operations may be under way.
std::unique_ptr<DiskEngine> MakeSyncEngine(int fd, unsigned depth);
// Null when the host has no io_uring (an old kernel, a seccomp filter, kernel.io_uring_disabled).
std::unique_ptr<DiskEngine> MakeUringEngine(int fd, unsigned depth);

}  // namespace faultline
