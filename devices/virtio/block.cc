// A disk (virtio 1.2 §5.2): reads, writes, flush, discard, write-zeroes and the serial number.
#include "devices/virtio/block.h"

#include <fcntl.h>
#include <linux/virtio_ids.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "devices/virtio/devices.h"
#include "devices/virtio/virtio_pci.h"

namespace faultline {
namespace {

constexpr uint64_t kSector = 512;
constexpr unsigned kMaxRanges = 16;  // of one discard or write-zeroes request
constexpr uint64_t kMaxZeroes = (64_MiB).value;
constexpr uint64_t kMaxDiscard = (1_GiB).value;
// Copied requests alone: what they may keep of the host's memory, all together.
constexpr uint64_t kMaxCopied = (32_MiB).value;

constexpr uint64_t Bit(unsigned feature) { return uint64_t{1} << feature; }

uint64_t Features(bool read_only) {
  const uint64_t writing = Bit(VIRTIO_BLK_F_DISCARD) | Bit(VIRTIO_BLK_F_WRITE_ZEROES);
  return Bit(VIRTIO_BLK_F_SEG_MAX) | Bit(VIRTIO_BLK_F_BLK_SIZE) | Bit(VIRTIO_BLK_F_FLUSH) |
         (read_only ? Bit(VIRTIO_BLK_F_RO) : writing);
}

// Zeroes to write where the file system cannot make them by itself.
std::span<std::byte> Zeroes() {
  static std::byte zeroes[65536] = {};
  return zeroes;
}

// None for what moves no data of the disk's.
std::optional<BlockCounters::Kind> KindOf(uint32_t type) {
  switch (type) {
    case VIRTIO_BLK_T_IN:
      return BlockCounters::Kind::kRead;
    case VIRTIO_BLK_T_OUT:
    case VIRTIO_BLK_T_WRITE_ZEROES:
      return BlockCounters::Kind::kWrite;
    case VIRTIO_BLK_T_FLUSH:
      return BlockCounters::Kind::kFlush;
    case VIRTIO_BLK_T_DISCARD:
      return BlockCounters::Kind::kUnmap;
    default:
      return std::nullopt;
  }
}

std::string SerialOf(const BlockConfig& config) {
  std::string serial = config.serial.empty() ? config.path.substr(config.path.rfind('/') + 1) : config.serial;
  serial.resize(VIRTIO_BLK_ID_BYTES);
  return serial;
}

}  // namespace

VirtioBlock::VirtioBlock(const BlockConfig& config, const VirtioEnvironment& environment)
    : VirtioDevice({.name = "virtio-blk",
                    .type = VIRTIO_ID_BLOCK,
                    .pci_class = 0x018000,
                    .queues = 1,
                    .features = Features(config.read_only)},
                   environment),
      file_(DiskFile::Open(environment.host, config.path, config.read_only)),
      read_only_(config.read_only),
      serial_(SerialOf(config)),
      counters_(config.counters ? config.counters : std::make_shared<BlockCounters>()),
      requests_(kDepth) {
  if (config.io_uring) engine_ = MakeUringEngine(file_.fd(), kDepth);
  if (engine_ == nullptr) engine_ = MakeSyncEngine(file_.fd(), kDepth);
  for (unsigned i = 0; i < kDepth; ++i) free_.push_back(kDepth - 1 - i);

  config_.capacity = file_.size() / Bytes(kSector);
  config_.seg_max = SplitQueue::kMaxSize - 2;
  config_.blk_size = kSector;
  config_.max_discard_sectors = kMaxDiscard / kSector;
  config_.max_discard_seg = kMaxRanges;
  config_.discard_sector_alignment = 1;
  config_.max_write_zeroes_sectors = kMaxZeroes / kSector;
  config_.max_write_zeroes_seg = kMaxRanges;
  config_.write_zeroes_may_unmap = 1;
}

void VirtioBlock::ReadConfigLocked(uint64_t offset, std::span<std::byte> out) {
  CopyConfig(std::as_bytes(std::span(&config_, 1)), offset, out);
}

void VirtioBlock::OnStart(uint64_t features) {
  // Without flushes the driver counts every completed write as stable (§5.2.6.2).
  write_through_ = (features & Bit(VIRTIO_BLK_F_FLUSH)) == 0;
  if (engine_->fd() >= 0) WatchLocked(engine_->fd());
}

void VirtioBlock::OnStop() {
  if (engine_->fd() >= 0) UnwatchLocked(engine_->fd());
  while (free_.size() < kDepth) ReapLocked(/*wait=*/true);
}

void VirtioBlock::OnReadable(int /*fd*/) {
  ReapLocked(/*wait=*/false);
  // Requests that found no slot free.
  ServeQueue(0);
}

void VirtioBlock::ServeQueue(unsigned index) {
  SplitQueue& queue = this->queue(index);
  copies_full_ = false;
  const auto room = [this] {
    mutex_.AssertHeld();
    return !free_.empty() && !copies_full_;
  };
  do {
    queue.DisableNotifications();
    DescriptorChain chain;
    while (room() && queue.Pop(chain)) {
      BeginLocked(std::move(chain));
      if (engine_->fd() < 0) ReapLocked(/*wait=*/false);
      chain = {};
    }
    // Without room, the next completion looks again.
  } while (room() && queue.EnableNotifications());
}

void VirtioBlock::ReapLocked(bool wait) {
  // Ending one operation may begin the next of the same request, which a synchronous engine ends at once.
  bool again = true;
  while (std::exchange(again, false)) {
    engine_->Reap(wait, [&](uint64_t tag, int64_t result) {
      mutex_.AssertHeld();
      ContinueLocked(static_cast<unsigned>(tag), result);
      again = engine_->fd() < 0;
    });
  }
}

void VirtioBlock::BeginLocked(DescriptorChain chain) {
  virtio_blk_outhdr header = {};
  const uint64_t readable = TotalSize(chain.readable);
  const uint64_t writable = TotalSize(chain.writable);
  if (readable < sizeof(header) || writable < 1 ||
      !CopyIn(memory(), chain.readable, 0, std::as_writable_bytes(std::span(&header, 1)))) {
    GiveUpLocked("a request without room for its header and status");
    return;
  }
  const unsigned slot = free_.back();
  free_.pop_back();
  Request& request = requests_[slot];
  request = {};
  request.chain = std::move(chain);
  request.type = header.type;
  request.began = std::chrono::steady_clock::now();
  request.status_offset = writable - 1;
  const std::vector<Segment> in = Slice(request.chain.writable, 0, writable - 1);
  const std::vector<Segment> out = Slice(request.chain.readable, sizeof(header), readable - sizeof(header));
  switch (header.type) {
    case VIRTIO_BLK_T_IN:
      return TransferLocked(slot, header.sector, in, /*to_guest=*/true);
    case VIRTIO_BLK_T_OUT:
      return TransferLocked(slot, header.sector, out, /*to_guest=*/false);
    case VIRTIO_BLK_T_FLUSH:
      return SubmitLocked(slot, {.kind = DiskOperation::Kind::kFlush});
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
      return BeginRangesLocked(slot, out);
    case VIRTIO_BLK_T_GET_ID: {
      const size_t size = std::min<size_t>(TotalSize(in), serial_.size());
      const bool copied = CopyOut(memory(), in, 0, std::as_bytes(std::span(serial_)).first(size));
      request.written = static_cast<uint32_t>(size);
      return EndLocked(slot, copied ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
    }
    default:
      return EndLocked(slot, VIRTIO_BLK_S_UNSUPP);
  }
}

bool VirtioBlock::InDisk(uint64_t sector, uint64_t size) const {
  const uint64_t disk = file_.size().value;
  return size % kSector == 0 && size > 0 && size <= disk && sector <= (disk - size) / kSector;
}

void VirtioBlock::TransferLocked(unsigned slot, uint64_t sector, const std::vector<Segment>& data, bool to_guest) {
  Request& request = requests_[slot];
  const uint64_t size = TotalSize(data);
  if (!InDisk(sector, size) || (!to_guest && read_only_)) return EndLocked(slot, VIRTIO_BLK_S_IOERR);
  request.offset = Bytes(sector * kSector);
  request.left = size;
  request.size = Bytes(size);
  request.end = request.offset + request.size;
  for (const Segment& segment : data) {
    AccessResult why = AccessResult::kOk;
    Pin pin = memory().PinRange(segment, to_guest, kind().name, &why);
    if (!pin) break;
    request.buffers.push_back({pin.bytes().data(), pin.bytes().size()});
    request.pins.push_back(std::move(pin));
  }
  if (request.pins.size() < data.size()) {
    // A buffer across two regions, or none in memory at all: by way of a copy, which finds out.
    request.pins.clear();
    request.buffers.clear();
    if (size > kMaxCopied) return EndLocked(slot, VIRTIO_BLK_S_IOERR);
    if (copied_ + size > kMaxCopied) {
      request = {};
      free_.push_back(slot);
      copies_full_ = true;
      return queue(0).PutBack();
    }
    copied_ += size;
    request.copy.resize(size);
    if (!to_guest && !CopyIn(memory(), data, 0, request.copy)) return EndLocked(slot, VIRTIO_BLK_S_IOERR);
    request.buffers.push_back({request.copy.data(), request.copy.size()});
  }
  SubmitTransferLocked(slot);
}

void VirtioBlock::SubmitTransferLocked(unsigned slot) {
  const Request& request = requests_[slot];
  const bool read = request.type == VIRTIO_BLK_T_IN;
  SubmitLocked(slot, {.kind = read ? DiskOperation::Kind::kRead : DiskOperation::Kind::kWrite,
                      .offset = request.offset,
                      .buffers = request.buffers});
}

void VirtioBlock::BeginRangesLocked(unsigned slot, const std::vector<Segment>& data) {
  Request& request = requests_[slot];
  const bool zeroes = request.type == VIRTIO_BLK_T_WRITE_ZEROES;
  const uint64_t size = TotalSize(data);
  const size_t count = size / sizeof(virtio_blk_discard_write_zeroes);
  if (read_only_ || count == 0 || count > kMaxRanges || size % sizeof(virtio_blk_discard_write_zeroes) != 0) {
    return EndLocked(slot, VIRTIO_BLK_S_IOERR);
  }
  request.ranges.resize(count);
  if (!CopyIn(memory(), data, 0, std::as_writable_bytes(std::span(request.ranges)))) {
    return EndLocked(slot, VIRTIO_BLK_S_IOERR);
  }
  Bytes size_on_disk;
  for (const virtio_blk_discard_write_zeroes& range : request.ranges) {
    // §5.2.6.2: unknown flags, and unmap with discard, are not supported.
    const uint32_t known = zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
    if ((range.flags & ~known) != 0) {
      return EndLocked(slot, VIRTIO_BLK_S_UNSUPP);
    }
    const uint64_t bytes = range.num_sectors * kSector;
    if (!InDisk(range.sector, bytes) || bytes > (zeroes ? kMaxZeroes : kMaxDiscard)) {
      return EndLocked(slot, VIRTIO_BLK_S_IOERR);
    }
    size_on_disk += Bytes(bytes);
    request.end = std::max(request.end, Bytes(range.sector * kSector + bytes));
  }
  request.size = size_on_disk;
  NextRangeLocked(slot);
}

// The next of the request's ranges, by the best way not yet refused.
void VirtioBlock::NextRangeLocked(unsigned slot) {
  Request& request = requests_[slot];
  if (request.ranges.empty()) {
    if (write_through_) return FlushLocked(slot);
    return EndLocked(slot, VIRTIO_BLK_S_OK);
  }
  const virtio_blk_discard_write_zeroes& range = request.ranges.back();
  const Bytes offset(range.sector * kSector);
  const Bytes size(range.num_sectors * kSector);
  if (request.way == Way::kWrite) {
    request.offset = offset;
    request.left = size.value;
    request.buffers.clear();
    for (uint64_t done = 0; done < size.value; done += Zeroes().size()) {
      request.buffers.push_back({Zeroes().data(), std::min<size_t>(Zeroes().size(), size.value - done)});
    }
    return SubmitTransferLocked(slot);
  }
  const bool unmap = request.type == VIRTIO_BLK_T_DISCARD || range.flags != 0 || request.way == Way::kPunch;
  const int mode = (unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE;
  SubmitLocked(slot, {.kind = DiskOperation::Kind::kAllocate, .offset = offset, .size = size, .mode = mode});
}

void VirtioBlock::FlushLocked(unsigned slot) {
  requests_[slot].flushing = true;
  SubmitLocked(slot, {.kind = DiskOperation::Kind::kFlush});
}

void VirtioBlock::SubmitLocked(unsigned slot, DiskOperation operation) {
  operation.tag = slot;
  if (!engine_->Submit(operation)) EndLocked(slot, VIRTIO_BLK_S_IOERR);
}

void VirtioBlock::ContinueLocked(unsigned slot, int64_t result) {
  Request& request = requests_[slot];
  if (request.flushing || request.type == VIRTIO_BLK_T_FLUSH) {
    return EndLocked(slot, result < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
  }
  if (!request.buffers.empty()) return ContinueTransferLocked(slot, result);
  if (result == -EOPNOTSUPP && request.type == VIRTIO_BLK_T_WRITE_ZEROES) {
    request.way = request.way == Way::kBest ? Way::kPunch : Way::kWrite;
    return NextRangeLocked(slot);
  }
  // Discard is a hint: a file system that cannot may ignore it.
  if (result < 0 && result != -EOPNOTSUPP) return EndLocked(slot, VIRTIO_BLK_S_IOERR);
  request.ranges.pop_back();
  NextRangeLocked(slot);
}

void VirtioBlock::ContinueTransferLocked(unsigned slot, int64_t result) {
  Request& request = requests_[slot];
  if (result == -EINTR) return SubmitTransferLocked(slot);
  // Zero: the file has been cut off behind our back.
  if (result <= 0) return EndLocked(slot, VIRTIO_BLK_S_IOERR);
  auto moved = static_cast<uint64_t>(result);
  request.offset += Bytes(moved);
  request.left -= std::min(moved, request.left);
  if (request.left > 0) {
    while (moved > 0 && moved >= request.buffers.front().iov_len) {
      moved -= request.buffers.front().iov_len;
      request.buffers.erase(request.buffers.begin());
    }
    iovec& first = request.buffers.front();
    first.iov_base = static_cast<std::byte*>(first.iov_base) + moved;
    first.iov_len -= moved;
    return SubmitTransferLocked(slot);
  }
  if (request.type == VIRTIO_BLK_T_WRITE_ZEROES) {
    request.buffers.clear();
    request.ranges.pop_back();
    return NextRangeLocked(slot);
  }
  if (request.type == VIRTIO_BLK_T_IN) {
    if (!request.copy.empty() && !CopyOut(memory(), request.chain.writable, 0, request.copy)) {
      return EndLocked(slot, VIRTIO_BLK_S_IOERR);
    }
    request.written = static_cast<uint32_t>(request.status_offset);
  } else if (write_through_) {
    return FlushLocked(slot);
  }
  EndLocked(slot, VIRTIO_BLK_S_OK);
}

void VirtioBlock::EndLocked(unsigned slot, uint8_t status) {
  Request& request = requests_[slot];
  request.pins.clear();
  if (!CopyOut(memory(), request.chain.writable, request.status_offset, std::as_bytes(std::span(&status, 1)))) {
    GiveUpLocked();
  }
  CountLocked(request, status);
  queue(0).Push(request.chain.head, request.written + 1);
  copied_ -= request.copy.size();
  request = {};
  free_.push_back(slot);
}

void VirtioBlock::CountLocked(const Request& request, uint8_t status) {
  const std::optional<BlockCounters::Kind> kind = KindOf(request.type);
  if (!kind) return;
  const auto took = std::chrono::steady_clock::now() - request.began;
  if (status == VIRTIO_BLK_S_OK) {
    counters_->CountDone(*kind, request.size, took);
    if (*kind == BlockCounters::Kind::kWrite) counters_->NoteWritten(request.end);
  } else if (request.size != Bytes(0) || *kind == BlockCounters::Kind::kFlush) {
    counters_->CountFailed(*kind, took);
  } else {
    counters_->CountInvalid(*kind);
  }
}

std::unique_ptr<PciFunction> MakeVirtioBlock(const BlockConfig& config, const VirtioEnvironment& environment) {
  return std::make_unique<VirtioPci>(std::make_unique<VirtioBlock>(config, environment), environment.msi);
}

}  // namespace faultline
