// Memory that comes and goes in blocks (virtio 1.2 §5.15).
//
// A request is read and checked under the device's lock and carried out without it: plugging and unplugging wait
// for KVM. One at a time; the next is taken from the queue when the last has been answered.
#include "devices/virtio/mem.h"

#include <linux/virtio_ids.h>
#include <linux/virtio_mem.h>

#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "devices/virtio/mem_blocks.h"
#include "devices/virtio/virtio_device.h"
#include "devices/virtio/virtio_pci.h"
#include "guestmem/error.h"

#ifndef VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE  // Linux 5.17
#define VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE 1
#endif

namespace faultline {
namespace {

constexpr uint64_t kInaccessible = uint64_t{1} << VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE;

std::string Mebibytes(Bytes size) { return std::to_string(size.value >> 20) + " MiB"; }

void Check(const VirtioMemConfig& config) {
  const std::string what = "virtio-mem '" + config.id + "'";
  if (config.block < 2_MiB || !std::has_single_bit(config.block.value)) {
    throw UsageError(what + ": a block of " + std::to_string(config.block.value) +
                     " bytes is not usable; choose a power of two from 2 MiB up");
  }
  if (config.region.size == Bytes(0) || !IsAligned(config.region.size, config.block)) {
    throw UsageError(what + ": its size is not a multiple of its block size of " + Mebibytes(config.block) +
                     "; round it");
  }
  if (config.backing.kind == BackingKind::kFile) {
    throw UsageError(what + ": a file cannot back memory that goes away; choose anonymous, memfd or hugetlb");
  }
}

class VirtioMemImpl final : public VirtioDevice, public VirtioMem {
 public:
  VirtioMemImpl(VirtioMemConfig config, const VirtioEnvironment& environment)
      : VirtioDevice({.name = "virtio-mem",
                      .type = VIRTIO_ID_MEM,
                      .pci_class = 0x00ff00,
                      .queues = 1,
                      .features = kInaccessible,
                      .required = kInaccessible},
                     environment),
        config_(std::move(config)),
        blocks_(environment.memory, {config_.id, config_.region, config_.block, config_.backing}) {
    MutexLock lock(mutex_);
    shared_.block_size = config_.block.value;
    shared_.addr = config_.region.start.value;
    shared_.region_size = config_.region.size.value;
    shared_.usable_region_size = config_.region.size.value;
    shared_.requested_size = CheckedSize(config_.requested).value;
  }

  const VirtioMemConfig& config() const override { return config_; }

  void Resize(Bytes requested) override {
    MutexLock lock(mutex_);
    shared_.requested_size = CheckedSize(requested).value;
    ConfigChangedLocked();
  }

  VirtioMemState state() const override {
    MutexLock lock(mutex_);
    VirtioMemState state = counts_;
    state.driver = running();
    state.requested = Bytes(shared_.requested_size);
    state.plugged = Bytes(shared_.plugged_size);
    return state;
  }

 private:
  // What the guest asked for, waiting for AfterWork.
  struct Request {
    virtio_mem_req body;
    DescriptorChain chain;
    uint64_t life;  // of the driver that asked
  };

  Bytes CheckedSize(Bytes requested) const {
    if (requested > config_.region.size) {
      throw UsageError("virtio-mem '" + config_.id + "' cannot grow to " + Mebibytes(requested) + ": it has " +
                       Mebibytes(config_.region.size) + " at most");
    }
    if (!IsAligned(requested, config_.block)) {
      throw UsageError("virtio-mem '" + config_.id + "' comes and goes in blocks of " + Mebibytes(config_.block) +
                       ": round the size");
    }
    return requested;
  }

  void OnStop() override REQUIRES(mutex_) {
    ++life_;
    request_.reset();
  }

  void ReadConfigLocked(uint64_t offset, std::span<std::byte> out) override REQUIRES(mutex_) {
    CopyConfig(std::as_bytes(std::span(&shared_, 1)), offset, out);
  }

  void ServeQueue(unsigned index) override REQUIRES(mutex_) {
    SplitQueue& requests = queue(index);
    // One is enough: AfterWork has this called again when it has answered.
    if (request_) return;
    Request request{};
    if (!requests.Pop(request.chain)) {
      if (requests.EnableNotifications()) Notify(index);
      return;
    }
    if (TotalSize(request.chain.writable) < sizeof(virtio_mem_resp) ||
        !CopyIn(memory(), request.chain.readable, 0, std::as_writable_bytes(std::span(&request.body, 1)))) {
      return GiveUpLocked();
    }
    request.life = life_;
    request_ = std::move(request);
  }

  void AfterWork() override EXCLUDES(mutex_) {
    std::optional<Request> request;
    {
      MutexLock lock(mutex_);
      request = request_;
    }
    if (!request) return;
    const Bytes before = blocks_.plugged();
    const virtio_mem_resp response = Answer(request->body);
    const Bytes after = blocks_.plugged();
    {
      MutexLock lock(mutex_);
      shared_.plugged_size = after.value;
      // After a reset the buffers are no longer ours.
      if (request_ && request_->life == request->life) {
        request_.reset();
        if (CopyOut(memory(), request->chain.writable, 0, std::as_bytes(std::span(&response, 1)))) {
          queue(0).Push(request->chain.head, sizeof(response));
        } else {
          GiveUpLocked();
        }
      }
    }
    // The round that this begins interrupts the driver and takes the next request.
    Notify(0);
    if (after != before && config_.on_change) config_.on_change(after);
  }

  virtio_mem_resp Answer(const virtio_mem_req& request) EXCLUDES(mutex_) {
    virtio_mem_resp response = {};
    try {
      switch (request.type) {
        case VIRTIO_MEM_REQ_PLUG:
          response.type = Plug(blocks_.Find(Gpa(request.u.plug.addr), request.u.plug.nb_blocks));
          break;
        case VIRTIO_MEM_REQ_UNPLUG:
          response.type = Unplug(blocks_.Find(Gpa(request.u.unplug.addr), request.u.unplug.nb_blocks));
          break;
        case VIRTIO_MEM_REQ_UNPLUG_ALL:
          blocks_.Unplug(blocks_.all());
          response.type = Done(false);
          break;
        case VIRTIO_MEM_REQ_STATE:
          response = State(blocks_.Find(Gpa(request.u.state.addr), request.u.state.nb_blocks));
          break;
        default:
          response.type = VIRTIO_MEM_RESP_ERROR;
      }
    } catch (const std::exception& e) {
      MutexLock lock(mutex_);
      ++counts_.failures;
      counts_.last_failure = e.what();
      response.type = VIRTIO_MEM_RESP_BUSY;
    }
    return response;
  }

  uint16_t Done(bool plug) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    ++(plug ? counts_.plug_requests : counts_.unplug_requests);
    return VIRTIO_MEM_RESP_ACK;
  }

  uint16_t Plug(std::optional<MemBlocks::Run> run) EXCLUDES(mutex_) {
    if (!run || !blocks_.NonePlugged(*run)) return VIRTIO_MEM_RESP_ERROR;
    {
      MutexLock lock(mutex_);
      if (blocks_.plugged() + config_.block * run->count > Bytes(shared_.requested_size)) return VIRTIO_MEM_RESP_NACK;
    }
    blocks_.Plug(*run);
    return Done(true);
  }

  uint16_t Unplug(std::optional<MemBlocks::Run> run) EXCLUDES(mutex_) {
    if (!run || !blocks_.AllPlugged(*run)) return VIRTIO_MEM_RESP_ERROR;
    blocks_.Unplug(*run);
    return Done(false);
  }

  virtio_mem_resp State(std::optional<MemBlocks::Run> run) const {
    virtio_mem_resp response = {};
    if (!run) {
      response.type = VIRTIO_MEM_RESP_ERROR;
    } else if (blocks_.AllPlugged(*run)) {
      response.u.state.state = VIRTIO_MEM_STATE_PLUGGED;
    } else if (blocks_.NonePlugged(*run)) {
      response.u.state.state = VIRTIO_MEM_STATE_UNPLUGGED;
    } else {
      response.u.state.state = VIRTIO_MEM_STATE_MIXED;
    }
    return response;
  }

  const VirtioMemConfig config_;
  MemBlocks blocks_;  // the device's thread alone
  virtio_mem_config shared_ GUARDED_BY(mutex_) = {};
  VirtioMemState counts_ GUARDED_BY(mutex_);  // the counters alone
  std::optional<Request> request_ GUARDED_BY(mutex_);
  uint64_t life_ GUARDED_BY(mutex_) = 0;
};

}  // namespace

VirtioMemDevice MakeVirtioMem(VirtioMemConfig config, const VirtioEnvironment& environment) {
  Check(config);
  auto device = std::make_unique<VirtioMemImpl>(std::move(config), environment);
  VirtioMem& mem = *device;
  return {std::make_unique<VirtioPci>(std::move(device), environment.msi), mem};
}

}  // namespace faultline
