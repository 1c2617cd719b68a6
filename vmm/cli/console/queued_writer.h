// Carries what the guest prints from vCPU threads to a descriptor, without a vCPU ever waiting on that
// descriptor.
//
// Owned by a console. Write is for any thread; everything else for the loop's thread. A descriptor that never
// blocks is written to by the vCPU's thread itself, since waking another one for each byte would cost far
// more; what it does not take waits in a bounded queue that the loop empties. When the queue is full the
// writer either waits a moment for room, so that a slow reader slows the guest down and nothing is lost
// (kWait: but a reader that has stopped altogether costs the guest 100 ms once, not for each byte), or
// forgets the oldest bytes (kForgetOldest: nobody may be there to read).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "guestmem/mutex.h"
#include "vmm/control/event_loop.h"

namespace faultline {

class QueuedWriter {
 public:
  enum class WhenFull { kWait, kForgetOldest };
  static constexpr size_t kCapacity = size_t{64} << 10;

  QueuedWriter(EventLoop& loop, WhenFull when_full) : loop_(loop), when_full_(when_full) {}
  // Not while the loop runs on another thread.
  ~QueuedWriter();
  QueuedWriter(const QueuedWriter&) = delete;
  QueuedWriter& operator=(const QueuedWriter&) = delete;

  void Write(std::span<const std::byte> data) EXCLUDES(mutex_);

  // Where the bytes go from now on; the descriptor stays the caller's, and only this may watch it for output.
  // One that may block is written to in small pieces, by the loop, when it says it has room.
  void Attach(int fd, bool may_block) EXCLUDES(mutex_);
  // Bytes wait in the queue until the next Attach.
  void Detach() EXCLUDES(mutex_);

  // Writes what is queued, waiting for the descriptor until `deadline`.
  void Finish(std::chrono::steady_clock::time_point deadline) EXCLUDES(mutex_);

 private:
  // How much of `text` the descriptor took; less than all when it takes no more for now.
  size_t WriteNow(std::string_view text) REQUIRES(mutex_);
  // Writes from the queue; true when it is empty.
  bool DrainLocked() REQUIRES(mutex_);
  // False when the text has to be dropped.
  bool MakeRoom(size_t bytes) REQUIRES(mutex_);
  void Drain() EXCLUDES(mutex_);
  void WatchOutput(int fd, bool on);

  EventLoop& loop_;
  const WhenFull when_full_;
  bool watching_ = false;  // the loop's thread only

  Mutex mutex_;
  CondVar room_;
  int fd_ GUARDED_BY(mutex_) = -1;
  bool may_block_ GUARDED_BY(mutex_) = false;
  bool broken_ GUARDED_BY(mutex_) = false;  // the reader is gone: bytes are dropped
  std::string queue_ GUARDED_BY(mutex_);
  bool posted_ GUARDED_BY(mutex_) = false;   // a Drain is on its way
  bool stalled_ GUARDED_BY(mutex_) = false;  // a wait for room was in vain
  uint64_t lost_ GUARDED_BY(mutex_) = 0;
};

}  // namespace faultline
