// liburing's header is C: its inline functions do not pass this project's warnings.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wcast-align"
#include <liburing.h>
#pragma GCC diagnostic pop

#include <cerrno>
#include <chrono>
#include <thread>

#include "devices/virtio/disk_engine.h"

namespace faultline {
namespace {

class UringEngine final : public DiskEngine {
 public:
  UringEngine(int fd, unsigned depth) : file_(fd), depth_(depth) {}
  ~UringEngine() override {
    if (ready_) io_uring_queue_exit(&ring_);
  }
  UringEngine(const UringEngine&) = delete;
  UringEngine& operator=(const UringEngine&) = delete;

  bool Init() {
    // Completions never exceed the depth, so neither queue of the ring overflows.
    ready_ = io_uring_queue_init(depth_, &ring_, 0) == 0;
    return ready_;
  }

  int fd() const override { return ring_.ring_fd; }

  bool Submit(const DiskOperation& operation) override {
    if (under_way_ >= depth_) return false;
    io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) return false;
    const auto count = static_cast<unsigned>(operation.buffers.size());
    switch (operation.kind) {
      case DiskOperation::Kind::kRead:
        io_uring_prep_readv(sqe, file_, operation.buffers.data(), count, operation.offset.value);
        break;
      case DiskOperation::Kind::kWrite:
        io_uring_prep_writev(sqe, file_, operation.buffers.data(), count, operation.offset.value);
        break;
      case DiskOperation::Kind::kFlush:
        io_uring_prep_fsync(sqe, file_, IORING_FSYNC_DATASYNC);
        break;
      case DiskOperation::Kind::kAllocate:
        io_uring_prep_fallocate(sqe, file_, operation.mode, static_cast<off_t>(operation.offset.value),
                                static_cast<off_t>(operation.size.value));
        break;
    }
    io_uring_sqe_set_data64(sqe, operation.tag);
    ++under_way_;
    SubmitQueued();
    return true;
  }

  void Reap(bool wait, const std::function<void(uint64_t tag, int64_t result)>& ended) override {
    if (wait && under_way_ > 0) {
      while (io_uring_submit_and_wait(&ring_, 1) == -EINTR) {
      }
    }
    io_uring_cqe* cqe = nullptr;
    while (io_uring_peek_cqe(&ring_, &cqe) == 0) {
      const uint64_t tag = io_uring_cqe_get_data64(cqe);
      const int64_t result = cqe->res;
      io_uring_cqe_seen(&ring_, cqe);
      --under_way_;
      ended(tag, result);
    }
    if (io_uring_sq_ready(&ring_) > 0) SubmitQueued();
  }

 private:
  // An entry the kernel cannot take now (EAGAIN: short of memory) stays queued: it goes with a later
  // submission, and the patience here is for the one that no later submission follows.
  void SubmitQueued() {
    for (int attempt = 0; attempt < 1000 && io_uring_submit(&ring_) < 0; ++attempt) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  const int file_;
  const unsigned depth_;
  io_uring ring_ = {};
  bool ready_ = false;
  unsigned under_way_ = 0;
};

}  // namespace

std::unique_ptr<DiskEngine> MakeUringEngine(int fd, unsigned depth) {
  auto engine = std::make_unique<UringEngine>(fd, depth);
  if (!engine->Init()) return nullptr;
  return engine;
}

}  // namespace faultline
