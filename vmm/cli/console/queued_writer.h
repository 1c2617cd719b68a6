// Carries what the guest prints from vCPU threads to a descriptor, without a vCPU ever waiting on that
// descriptor.
//
// Owned by a console. Write is for any thread; everything else for the loop's thread. The queue is bounded;
// when it is full the writer either waits a moment for room, so that a slow reader slows the guest down
// and nothing is lost (kWait: but a reader that has stopped altogether costs the guest 100 ms once, not for
// each byte), or forgets the oldest bytes (kForgetOldest: nobody may be there to read).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

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
  // One that may block is written to in small pieces, when it says it has room.
  void Attach(int fd, bool may_block);
  // Bytes wait in the queue until the next Attach.
  void Detach();

  // Writes what is queued, waiting for the descriptor until `deadline`.
  void Finish(std::chrono::steady_clock::time_point deadline);

 private:
  void Drain();
  // False when the descriptor takes no more for now.
  bool WriteSome();
  void Refill() EXCLUDES(mutex_);
  void WatchOutput(bool on);

  EventLoop& loop_;
  const WhenFull when_full_;
  int fd_ = -1;
  bool may_block_ = false;
  bool watching_ = false;
  bool broken_ = false;   // the reader is gone: bytes are dropped
  std::string outgoing_;  // taken from the queue, partly written
  size_t written_ = 0;

  Mutex mutex_;
  CondVar room_;
  std::string queue_ GUARDED_BY(mutex_);
  bool posted_ GUARDED_BY(mutex_) = false;   // a Drain is on its way
  bool stalled_ GUARDED_BY(mutex_) = false;  // a wait for room was in vain
  uint64_t lost_ GUARDED_BY(mutex_) = 0;
};

}  // namespace faultline
