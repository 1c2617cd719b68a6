// The block device's model; see MakeVirtioBlock (devices/virtio/devices.h) for making one.
//
// Requests are carried out in any order, up to kDepth at once, straight between the disk and the guest's
// buffers, which stay pinned for as long as the operation runs. A request that asks for nonsense fails with
// IOERR or UNSUPP; one that has no header or no place for a status breaks the device (DEVICE_NEEDS_RESET).
// A reset waits for the operations under way.
#pragma once

#include <linux/virtio_blk.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "devices/virtio/block_counters.h"
#include "devices/virtio/disk_engine.h"
#include "devices/virtio/disk_file.h"
#include "devices/virtio/virtio_device.h"

namespace faultline {

class VirtioBlock final : public VirtioDevice {
 public:
  static constexpr unsigned kDepth = 64;

  VirtioBlock(const BlockConfig& config, const VirtioEnvironment& environment);

 private:
  // How a range becomes zeroes: as asked for, by a hole, or by writing.
  enum class Way : uint8_t { kBest, kPunch, kWrite };
  struct Request {
    DescriptorChain chain;
    uint32_t type = 0;
    uint64_t status_offset = 0;  // in the writable bytes: their last
    uint32_t written = 0;        // to the guest, without the status
    // A transfer under way: what is left of it.
    Bytes offset;
    uint64_t left = 0;
    std::vector<iovec> buffers;
    std::vector<Pin> pins;
    std::vector<std::byte> copy;
    // A discard or write-zeroes: the ranges left, the last one first.
    std::vector<virtio_blk_discard_write_zeroes> ranges;
    Way way = Way::kBest;
    bool flushing = false;
    // For the counters.
    std::chrono::steady_clock::time_point began;
    Bytes size;  // 0 until what is asked for is known to be there
    Bytes end;   // of it on the disk
  };

  void OnStart(uint64_t features) override REQUIRES(mutex_);
  void OnStop() override REQUIRES(mutex_);
  void ServeQueue(unsigned index) override REQUIRES(mutex_);
  void OnReadable(int fd) override REQUIRES(mutex_);
  void ReadConfigLocked(uint64_t offset, std::span<std::byte> out) override REQUIRES(mutex_);

  void BeginLocked(DescriptorChain chain) REQUIRES(mutex_);
  void TransferLocked(unsigned slot, uint64_t sector, const std::vector<Segment>& data, bool to_guest) REQUIRES(mutex_);
  void SubmitTransferLocked(unsigned slot) REQUIRES(mutex_);
  void BeginRangesLocked(unsigned slot, const std::vector<Segment>& data) REQUIRES(mutex_);
  void NextRangeLocked(unsigned slot) REQUIRES(mutex_);
  void FlushLocked(unsigned slot) REQUIRES(mutex_);
  void SubmitLocked(unsigned slot, DiskOperation operation) REQUIRES(mutex_);
  void ReapLocked(bool wait) REQUIRES(mutex_);
  void ContinueLocked(unsigned slot, int64_t result) REQUIRES(mutex_);
  void ContinueTransferLocked(unsigned slot, int64_t result) REQUIRES(mutex_);
  void EndLocked(unsigned slot, uint8_t status) REQUIRES(mutex_);
  void CountLocked(const Request& request, uint8_t status) REQUIRES(mutex_);
  bool InDisk(uint64_t sector, uint64_t size) const;

  const DiskFile file_;
  const bool read_only_;
  const std::string serial_;  // exactly the bytes that GET_ID gives
  const std::shared_ptr<BlockCounters> counters_;
  virtio_blk_config config_ = {};
  std::unique_ptr<DiskEngine> engine_;
  std::vector<Request> requests_ GUARDED_BY(mutex_);
  std::vector<unsigned> free_ GUARDED_BY(mutex_);
  uint64_t copied_ GUARDED_BY(mutex_) = 0;       // bytes, in the `copy` of all requests
  bool copies_full_ GUARDED_BY(mutex_) = false;  // the next request waits until another ends
  bool write_through_ GUARDED_BY(mutex_) = false;
};

}  // namespace faultline
