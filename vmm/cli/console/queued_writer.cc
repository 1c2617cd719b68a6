#include "vmm/cli/console/queued_writer.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr std::chrono::milliseconds kWaitForRoom{100};
// A terminal that says it has room takes at least this much without blocking (the kernel's WAKEUP_CHARS).
constexpr size_t kSmallPiece = 256;

}  // namespace

QueuedWriter::~QueuedWriter() { Detach(); }

void QueuedWriter::Write(std::span<const std::byte> data) {
  const std::string_view text(reinterpret_cast<const char*>(data.data()), data.size());
  bool post;
  {
    MutexLock lock(mutex_);
    if (when_full_ == WhenFull::kWait && queue_.size() + text.size() > kCapacity) {
      const auto deadline = std::chrono::steady_clock::now() + kWaitForRoom;
      while (!stalled_ && queue_.size() + text.size() > kCapacity) {
        if (!room_.WaitUntil(mutex_, deadline)) stalled_ = true;
      }
      if (queue_.size() + text.size() > kCapacity) {
        lost_ += text.size();
        return;
      }
    }
    queue_.append(text);
    if (queue_.size() > kCapacity) queue_.erase(0, queue_.size() - kCapacity);
    post = !posted_;
    posted_ = true;
  }
  if (post) loop_.Post([this] { Drain(); });
}

void QueuedWriter::Attach(int fd, bool may_block) {
  Detach();
  fd_ = fd;
  may_block_ = may_block;
  broken_ = false;
  Drain();
}

void QueuedWriter::Detach() {
  WatchOutput(false);
  fd_ = -1;
  // What a reader was in the middle of is not for the next one.
  outgoing_.clear();
  written_ = 0;
}

void QueuedWriter::Refill() {
  MutexLock lock(mutex_);
  posted_ = false;
  if (fd_ < 0 || written_ < outgoing_.size()) return;
  outgoing_.clear();
  written_ = 0;
  outgoing_.swap(queue_);
  if (lost_ > 0) {
    outgoing_ +=
        "\r\n[faultline: " + std::to_string(std::exchange(lost_, 0)) + " bytes of console output were lost]\r\n";
  }
  stalled_ = false;
  room_.NotifyAll();
}

void QueuedWriter::Drain() {
  bool room = true;
  do {
    Refill();
    if (fd_ < 0) return;
    room = WriteSome();
  } while (room && written_ > 0 && !outgoing_.empty());
  WatchOutput(!room);
}

bool QueuedWriter::WriteSome() {
  while (written_ < outgoing_.size()) {
    if (broken_) {
      written_ = outgoing_.size();
      break;
    }
    if (may_block_) {
      pollfd fd{fd_, POLLOUT, 0};
      if (poll(&fd, 1, 0) == 0) return false;
    }
    const size_t piece = may_block_ ? kSmallPiece : outgoing_.size();
    const ssize_t n = write(fd_, outgoing_.data() + written_, std::min(piece, outgoing_.size() - written_));
    if (n >= 0) {
      written_ += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      return false;
    } else if (errno != EINTR) {
      broken_ = true;
    }
  }
  return true;
}

void QueuedWriter::WatchOutput(bool on) {
  if (on == watching_) return;
  watching_ = on;
  if (!on) {
    loop_.Remove(fd_);
    return;
  }
  try {
    loop_.Add(fd_, EPOLLOUT, [this](uint32_t) { Drain(); });
  } catch (const Error&) {
    // Not a descriptor that can be waited for, so it always has room; it said otherwise: give it up.
    watching_ = false;
    broken_ = true;
  }
}

void QueuedWriter::Finish(std::chrono::steady_clock::time_point deadline) {
  WatchOutput(false);
  for (;;) {
    Refill();
    if (fd_ < 0 || written_ == outgoing_.size()) return;
    if (WriteSome()) continue;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd fd{fd_, POLLOUT, 0};
    if (left <= 0 || poll(&fd, 1, static_cast<int>(left)) == 0) return;
  }
}

}  // namespace faultline
