#include "devices/virtio/virtio_device.h"

#include <linux/virtio_config.h>
#define VIRTIO_RING_NO_LEGACY  // its legacy part is C alone
#include <linux/virtio_ring.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

constexpr uint64_t Bit(unsigned feature) { return uint64_t{1} << feature; }

constexpr uint64_t kCommonFeatures =
    Bit(VIRTIO_F_VERSION_1) | Bit(VIRTIO_RING_F_EVENT_IDX) | Bit(VIRTIO_RING_F_INDIRECT_DESC);
constexpr uint8_t kDriverBits = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FAILED;

}  // namespace

VirtioDevice::VirtioDevice(Kind kind, const VirtioEnvironment& environment)
    : kind_(std::move(kind)),
      environment_(environment),
      kick_(environment.host, environment.host.EventFd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      states_(kind_.queues),
      queues_(kind_.queues, SplitQueue(environment.memory)) {
  if (!kick_) {
    throw Error("the host gives no event descriptor for device " + kind_.name +
                ": raise the limit on open files (ulimit -n)");
  }
  for (QueueState& state : states_) state.layout.size = SplitQueue::kMaxSize;
}

VirtioDevice::~VirtioDevice() = default;

uint64_t VirtioDevice::offered_features() const { return kind_.features | kCommonFeatures; }

uint64_t VirtioDevice::driver_features() const {
  MutexLock lock(mutex_);
  return driver_features_;
}

void VirtioDevice::SetDriverFeatures(unsigned half, uint32_t bits) {
  MutexLock lock(mutex_);
  if (half > 1 || (status_ & VIRTIO_CONFIG_S_FEATURES_OK) != 0) return;
  const unsigned shift = half * 32;
  driver_features_ = (driver_features_ & ~(uint64_t{UINT32_MAX} << shift)) | uint64_t{bits} << shift;
}

uint8_t VirtioDevice::status() const {
  MutexLock lock(mutex_);
  return status_;
}

void VirtioDevice::WriteStatus(uint8_t value) {
  {
    MutexLock lock(mutex_);
    WriteStatusLocked(value);
  }
  ReportBroken();
}

void VirtioDevice::WriteStatusLocked(uint8_t value) {
  if (value == 0) {
    ResetLocked();
    return;
  }
  // Bits only ever come on (§2.1.1).
  status_ = static_cast<uint8_t>(status_ | (value & kDriverBits));
  if ((value & VIRTIO_CONFIG_S_FEATURES_OK) != 0 && (driver_features_ & ~offered_features()) == 0 &&
      (driver_features_ & Bit(VIRTIO_F_VERSION_1)) != 0 && (driver_features_ & kind_.required) == kind_.required) {
    status_ |= VIRTIO_CONFIG_S_FEATURES_OK;
  }
  if ((value & VIRTIO_CONFIG_S_DRIVER_OK) != 0 && (status_ & VIRTIO_CONFIG_S_FEATURES_OK) != 0 &&
      (status_ & VIRTIO_CONFIG_S_DRIVER_OK) == 0) {
    status_ |= VIRTIO_CONFIG_S_DRIVER_OK;
    StartLocked();
  }
}

void VirtioDevice::StartLocked() {
  for (unsigned i = 0; i < queues_.size(); ++i) {
    if (!states_[i].enabled) continue;
    SplitQueue::Layout layout = states_[i].layout;
    layout.event_idx = (driver_features_ & Bit(VIRTIO_RING_F_EVENT_IDX)) != 0;
    layout.indirect = (driver_features_ & Bit(VIRTIO_RING_F_INDIRECT_DESC)) != 0;
    queues_[i].Start(layout);
  }
  if (thread_ == nullptr) {
    try {
      thread_ = std::make_unique<IoThread>(environment_.host, kind_.name, [this](int fd) { OnReady(fd); });
    } catch (const std::exception&) {
      // No descriptor or no thread to be had: the driver is told that the device is of no use now.
      broken_by_ = "a start for which the host has no thread or descriptor";
      BreakLocked();
      return;
    }
    thread_->Watch(kick_.get());
  }
  running_ = true;
  OnStart(driver_features_);
  UpdateDoorbellsLocked();
}

void VirtioDevice::ResetLocked() {
  StopLocked();
  for (SplitQueue& queue : queues_) queue.Stop();
  for (QueueState& state : states_) {
    state = {};
    state.layout.size = SplitQueue::kMaxSize;
  }
  kicked_.store(0, std::memory_order_relaxed);
  status_ = 0;
  driver_features_ = 0;
}

void VirtioDevice::StopLocked() {
  if (running_) OnStop();
  running_ = false;
  needs_reset_ = false;
  UpdateDoorbellsLocked();
}

void VirtioDevice::BreakLocked() {
  StopLocked();
  status_ |= VIRTIO_CONFIG_S_NEEDS_RESET;
  if (interrupts_ != nullptr) interrupts_->ConfigChanged();
}

void VirtioDevice::ReportBroken() {
  const char* by = nullptr;
  {
    MutexLock lock(mutex_);
    by = std::exchange(broken_by_, nullptr);
    // A driver can break a device as often as it likes.
    if (by == nullptr || reports_ == VirtioEnvironment::kMaxReports) return;
    ++reports_;
  }
  if (!environment_.on_broken) return;
  environment_.on_broken(kind_.name, "stopped until its driver resets it: the driver gave it " + std::string(by));
}

VirtioDevice::QueueState VirtioDevice::queue_state(unsigned queue) const {
  MutexLock lock(mutex_);
  if (queue < states_.size()) return states_[queue];
  return {};
}

bool VirtioDevice::QueueFrozenLocked(unsigned queue) const {
  return queue >= states_.size() || states_[queue].enabled || (status_ & VIRTIO_CONFIG_S_DRIVER_OK) != 0;
}

void VirtioDevice::SetQueueSize(unsigned queue, uint16_t size) {
  MutexLock lock(mutex_);
  if (!QueueFrozenLocked(queue)) states_[queue].layout.size = size;
}

void VirtioDevice::SetQueueArea(unsigned queue, QueueArea area, uint64_t value, uint64_t mask) {
  MutexLock lock(mutex_);
  if (QueueFrozenLocked(queue)) return;
  SplitQueue::Layout& layout = states_[queue].layout;
  Gpa& gpa = area == QueueArea::kDescriptors ? layout.descriptors
             : area == QueueArea::kDriver    ? layout.driver_area
                                             : layout.device_area;
  gpa = Gpa((gpa.value & ~mask) | (value & mask));
}

void VirtioDevice::EnableQueue(unsigned queue) {
  MutexLock lock(mutex_);
  if (!QueueFrozenLocked(queue)) states_[queue].enabled = SplitQueue::IsValid(states_[queue].layout);
}

void VirtioDevice::CopyConfig(std::span<const std::byte> config, uint64_t offset, std::span<std::byte> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = offset < config.size() && i < config.size() - offset ? config[offset + i] : std::byte{0};
  }
}

void VirtioDevice::ReadConfigLocked(uint64_t /*offset*/, std::span<std::byte> out) {
  std::ranges::fill(out, std::byte{0});
}

void VirtioDevice::ReadConfig(uint64_t offset, std::span<std::byte> out) {
  MutexLock lock(mutex_);
  ReadConfigLocked(offset, out);
}

void VirtioDevice::WriteConfig(uint64_t offset, std::span<const std::byte> data) {
  MutexLock lock(mutex_);
  WriteConfigLocked(offset, data);
}

void VirtioDevice::Notify(unsigned queue) noexcept {
  if (queue >= kind_.queues) return;
  kicked_.fetch_or(1U << queue, std::memory_order_release);
  const uint64_t one = 1;
  environment_.host.Write(kick_.get(), &one, sizeof(one));
}

void VirtioDevice::SetDoorbellAddress(std::optional<uint64_t> address) {
  MutexLock lock(mutex_);
  doorbell_address_ = address;
  UpdateDoorbellsLocked();
}

void VirtioDevice::UpdateDoorbellsLocked() {
  for (const auto& doorbell : doorbells_) {
    if (doorbell != nullptr && thread_ != nullptr) thread_->Unwatch(doorbell->fd());
  }
  doorbells_.clear();
  if (!running_) return;
  // Notifications that came in between, or in a doorbell just taken away, are not lost.
  for (unsigned i = 0; i < kind_.queues; ++i) Notify(i);
  if (!doorbell_address_ || environment_.doorbells == nullptr) return;
  for (unsigned i = 0; i < kind_.queues; ++i) {
    try {
      doorbells_.push_back(environment_.doorbells->Add(AddressSpace::kMmio, *doorbell_address_ + 4 * i, 2, {}));
    } catch (const Error&) {
      // This queue's notifications take the ordinary way.
      doorbells_.push_back(nullptr);
      continue;
    }
    thread_->Watch(doorbells_.back()->fd());
  }
}

void VirtioDevice::WatchLocked(int fd) {
  if (thread_ != nullptr) thread_->Watch(fd);
}

void VirtioDevice::UnwatchLocked(int fd) {
  if (thread_ != nullptr) thread_->Unwatch(fd);
}

void VirtioDevice::DrainEvent(int fd) noexcept {
  uint64_t count = 0;
  environment_.host.Read(fd, &count, sizeof(count));
}

void VirtioDevice::ServeLocked(unsigned queue) {
  if (!running_ || !queues_[queue].running()) return;
  ServeQueue(queue);
}

void VirtioDevice::SettleQueuesLocked() {
  for (unsigned i = 0; i < queues_.size(); ++i) {
    if (queues_[i].NeedsInterrupt() && interrupts_ != nullptr) interrupts_->QueueUsed(i);
    if (queues_[i].broken() != RingError::kNone) GiveUpLocked(RingErrorText(queues_[i].broken()));
    // The rest in another round: vCPUs that wait for the lock come in between.
    if (queues_[i].Refill()) Notify(i);
  }
  if (needs_reset_) BreakLocked();
}

void VirtioDevice::ConfigChangedLocked() {
  config_generation_.fetch_add(1, std::memory_order_relaxed);
  if (interrupts_ != nullptr) interrupts_->ConfigChanged();
}

void VirtioDevice::OnReady(int fd) {
  {
    MutexLock lock(mutex_);
    const auto doorbell = std::ranges::find_if(
        doorbells_, [&](const auto& candidate) { return candidate != nullptr && candidate->fd() == fd; });
    if (fd == kick_.get()) {
      DrainEvent(fd);
      const uint32_t queues = kicked_.exchange(0, std::memory_order_acquire);
      for (unsigned i = 0; i < kind_.queues; ++i) {
        if ((queues >> i & 1) != 0) ServeLocked(i);
      }
    } else if (doorbell != doorbells_.end()) {
      DrainEvent(fd);
      ServeLocked(static_cast<unsigned>(doorbell - doorbells_.begin()));
    } else if (running_) {
      OnReadable(fd);
    }
    if (running_) SettleQueuesLocked();
  }
  ReportBroken();
  AfterWork();
}

void VirtioDevice::Shutdown() {
  {
    MutexLock lock(mutex_);
    ResetLocked();
  }
  // Nobody starts it again: the guest can no longer reach the device.
  thread_.reset();
}

}  // namespace faultline
