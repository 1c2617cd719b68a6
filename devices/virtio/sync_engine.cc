#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "devices/virtio/disk_engine.h"

namespace faultline {
namespace {

class SyncEngine final : public DiskEngine {
 public:
  SyncEngine(int fd, unsigned depth) : file_(fd), depth_(depth) {}

  int fd() const override { return -1; }

  bool Submit(const DiskOperation& operation) override {
    if (ended_.size() >= depth_) return false;
    int64_t result = 0;
    do {
      result = Perform(operation);
    } while (result < 0 && errno == EINTR);
    ended_.push_back({operation.tag, result < 0 ? -errno : result});
    return true;
  }

  void Reap(bool /*wait*/, const std::function<void(uint64_t tag, int64_t result)>& ended) override {
    const std::vector<Ended> all = std::move(ended_);
    ended_.clear();
    for (const Ended& one : all) ended(one.tag, one.result);
  }

 private:
  struct Ended {
    uint64_t tag;
    int64_t result;
  };

  int64_t Perform(const DiskOperation& operation) const {
    const auto offset = static_cast<off_t>(operation.offset.value);
    const auto count = static_cast<int>(operation.buffers.size());
    switch (operation.kind) {
      case DiskOperation::Kind::kRead:
        return preadv(file_, operation.buffers.data(), count, offset);
      case DiskOperation::Kind::kWrite:
        return pwritev(file_, operation.buffers.data(), count, offset);
      case DiskOperation::Kind::kFlush:
        return fdatasync(file_);
      case DiskOperation::Kind::kAllocate:
        return fallocate(file_, operation.mode, offset, static_cast<off_t>(operation.size.value));
    }
    return -1;
  }

  const int file_;
  const unsigned depth_;
  std::vector<Ended> ended_;
};

}  // namespace

std::unique_ptr<DiskEngine> MakeSyncEngine(int fd, unsigned depth) { return std::make_unique<SyncEngine>(fd, depth); }

}  // namespace faultline
