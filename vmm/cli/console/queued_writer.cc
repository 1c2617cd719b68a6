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
  std::string_view text(reinterpret_cast<const char*>(data.data()), data.size());
  bool post;
  {
    MutexLock lock(mutex_);
    if (fd_ >= 0 && !may_block_ && queue_.empty()) text.remove_prefix(WriteNow(text));
    if (text.empty()) return;
    if (!MakeRoom(text.size())) {
      lost_ += text.size();
      return;
    }
    queue_.append(text);
    if (queue_.size() > kCapacity) queue_.erase(0, queue_.size() - kCapacity);
    post = !posted_;
    posted_ = true;
  }
  if (post) loop_.Post([this] { Drain(); });
}

bool QueuedWriter::MakeRoom(size_t bytes) {
  if (when_full_ == WhenFull::kForgetOldest) return true;
  const auto deadline = std::chrono::steady_clock::now() + kWaitForRoom;
  while (!stalled_ && queue_.size() + bytes > kCapacity) {
    if (!room_.WaitUntil(mutex_, deadline)) stalled_ = true;
  }
  return queue_.size() + bytes <= kCapacity;
}

size_t QueuedWriter::WriteNow(std::string_view text) {
  size_t written = 0;
  while (written < text.size()) {
    if (broken_) return text.size();
    if (may_block_) {
      pollfd fd{fd_, POLLOUT, 0};
      if (poll(&fd, 1, 0) == 0) break;
    }
    const size_t piece = std::min(text.size() - written, may_block_ ? kSmallPiece : kCapacity);
    const ssize_t n = write(fd_, text.data() + written, piece);
    if (n >= 0) {
      written += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      broken_ = true;
    }
  }
  return written;
}

bool QueuedWriter::DrainLocked() {
  posted_ = false;
  if (fd_ < 0) return true;
  const size_t written = WriteNow(queue_);
  if (written > 0) {
    queue_.erase(0, written);
    stalled_ = false;
    room_.NotifyAll();
  }
  if (queue_.empty() && lost_ > 0) {
    const std::string notice =
        "\r\n[faultline: " + std::to_string(std::exchange(lost_, 0)) + " bytes of console output were lost]\r\n";
    queue_ = notice.substr(WriteNow(notice));
  }
  return queue_.empty();
}

void QueuedWriter::Drain() {
  bool empty;
  int fd;
  {
    MutexLock lock(mutex_);
    empty = DrainLocked();
    fd = fd_;
  }
  if (fd >= 0) WatchOutput(fd, !empty);
}

void QueuedWriter::Attach(int fd, bool may_block) {
  Detach();
  {
    MutexLock lock(mutex_);
    fd_ = fd;
    may_block_ = may_block;
    broken_ = false;
  }
  Drain();
}

void QueuedWriter::Detach() {
  int fd;
  {
    MutexLock lock(mutex_);
    fd = std::exchange(fd_, -1);
  }
  if (fd >= 0) WatchOutput(fd, false);
}

void QueuedWriter::WatchOutput(int fd, bool on) {
  if (on == watching_) return;
  watching_ = on;
  if (!on) {
    loop_.Remove(fd);
    return;
  }
  try {
    loop_.Add(fd, EPOLLOUT, [this](uint32_t) { Drain(); });
  } catch (const Error&) {
    // Not a descriptor that can be waited for, so it always has room; it said otherwise: give it up.
    watching_ = false;
    MutexLock lock(mutex_);
    broken_ = true;
  }
}

void QueuedWriter::Finish(std::chrono::steady_clock::time_point deadline) {
  MutexLock lock(mutex_);
  while (!DrainLocked()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd fd{fd_, POLLOUT, 0};
    if (left <= 0 || poll(&fd, 1, static_cast<int>(left)) == 0) return;
  }
}

}  // namespace faultline
