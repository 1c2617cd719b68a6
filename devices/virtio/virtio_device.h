// A virtio device without its transport: status and features, queues, and the thread that serves them
// (virtio 1.2 §2, §3). Block, net, console and rng derive from it; VirtioPci is what a guest reaches it by.
//
// Owned by its transport. One lock of rank kDevice guards everything, is held while a queue is served and
// during every hook; public members take it themselves. Nothing a guest does blocks a vCPU here longer than
// a hook runs. A queue that makes no sense sets DEVICE_NEEDS_RESET, and the device does nothing more until
// the driver resets it.
//
// Life: constructed; Attach by the transport; DRIVER_OK starts the I/O thread; Shutdown ends it before the
// derived class is destroyed.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/virtio/devices.h"
#include "devices/virtio/io_thread.h"
#include "devices/virtio/split_queue.h"
#include "guestmem/mutex.h"

namespace faultline {

// The driver's interrupts. Called with the device's lock held; must not call back.
class VirtioInterrupts {
 public:
  virtual ~VirtioInterrupts() = default;
  virtual void QueueUsed(unsigned queue) noexcept = 0;
  virtual void ConfigChanged() noexcept = 0;
};

class VirtioDevice {
 public:
  static constexpr unsigned kMaxQueues = 5;

  struct Kind {
    std::string name;        // for the thread, pins and messages
    uint16_t type = 0;       // virtio 1.2 §5
    uint32_t pci_class = 0;  // 24 bits
    unsigned queues = 1;
    uint64_t features = 0;  // besides those every device here offers
    uint64_t required = 0;  // of them: a driver that does without is refused
  };
  struct QueueState {
    SplitQueue::Layout layout;
    bool enabled = false;
  };
  enum class QueueArea : uint8_t { kDescriptors, kDriver, kDevice };

  virtual ~VirtioDevice();
  VirtioDevice(const VirtioDevice&) = delete;
  VirtioDevice& operator=(const VirtioDevice&) = delete;

  const Kind& kind() const { return kind_; }
  uint64_t offered_features() const;
  void Attach(VirtioInterrupts& interrupts) { interrupts_ = &interrupts; }

  // The registers of a transport. Writes that come too late (after FEATURES_OK, after the queue was enabled)
  // are ignored, as are queues that do not exist.
  uint64_t driver_features() const EXCLUDES(mutex_);
  void SetDriverFeatures(unsigned half, uint32_t bits) EXCLUDES(mutex_);
  uint8_t status() const EXCLUDES(mutex_);
  // Writing 0 resets: returns after all I/O under way has ended.
  void WriteStatus(uint8_t value) EXCLUDES(mutex_);
  QueueState queue_state(unsigned queue) const EXCLUDES(mutex_);
  void SetQueueSize(unsigned queue, uint16_t size) EXCLUDES(mutex_);
  void SetQueueArea(unsigned queue, QueueArea area, uint64_t value, uint64_t mask) EXCLUDES(mutex_);
  void EnableQueue(unsigned queue) EXCLUDES(mutex_);
  void ReadConfig(uint64_t offset, std::span<std::byte> out) EXCLUDES(mutex_);
  void WriteConfig(uint64_t offset, std::span<const std::byte> data) EXCLUDES(mutex_);
  uint8_t config_generation() const { return config_generation_.load(std::memory_order_relaxed); }

  // A notification that came as an ordinary write.
  void Notify(unsigned queue) noexcept;
  // Where the guest's notifications are written: queue N at `address` + 4 N, or nowhere.
  void SetDoorbellAddress(std::optional<uint64_t> address) EXCLUDES(mutex_);

  // Resets, and ends the I/O thread. Called once, before destruction.
  void Shutdown() EXCLUDES(mutex_);

 protected:
  VirtioDevice(Kind kind, const VirtioEnvironment& environment);

  // Hooks, called with the lock held.
  // The driver is ready, with the features it accepted: backends may be watched from now on.
  virtual void OnStart(uint64_t /*features*/) REQUIRES(mutex_) {}
  // Called once for each OnStart. Finish or forget everything under way and unwatch what is watched:
  // afterwards no buffer of the guest's is touched.
  virtual void OnStop() REQUIRES(mutex_) {}
  virtual void ServeQueue(unsigned queue) REQUIRES(mutex_) = 0;
  // A watched descriptor is readable.
  virtual void OnReadable(int /*fd*/) REQUIRES(mutex_) {}
  virtual void ReadConfigLocked(uint64_t offset, std::span<std::byte> out) REQUIRES(mutex_);
  virtual void WriteConfigLocked(uint64_t /*offset*/, std::span<const std::byte> /*data*/) REQUIRES(mutex_) {}
  // On the I/O thread after each round of work, without the lock.
  virtual void AfterWork() EXCLUDES(mutex_) {}

  GuestMemory& memory() const { return environment_.memory; }
  Host& host() const { return environment_.host; }
  SplitQueue& queue(unsigned index) REQUIRES(mutex_) { return queues_[index]; }
  bool running() const REQUIRES(mutex_) { return running_; }
  // Copies what a configuration structure holds; past its end reads as zero.
  static void CopyConfig(std::span<const std::byte> config, uint64_t offset, std::span<std::byte> out);
  // The configuration reads differently now: tells the driver (§2.5).
  void ConfigChangedLocked() REQUIRES(mutex_);
  // For requests that cannot even be failed: DEVICE_NEEDS_RESET (§2.1.2) once the hook returned. `why` names what the
  // driver gave, and outlives the device.
  void GiveUpLocked(const char* why = "a buffer outside guest memory") REQUIRES(mutex_) {
    needs_reset_ = true;
    broken_by_ = why;
  }

  void WatchLocked(int fd) REQUIRES(mutex_);
  void UnwatchLocked(int fd) REQUIRES(mutex_);

  mutable RankedMutex<LockRank::kDevice> mutex_;

 private:
  void OnReady(int fd) EXCLUDES(mutex_);
  void DrainEvent(int fd) noexcept;
  void WriteStatusLocked(uint8_t value) REQUIRES(mutex_);
  void ResetLocked() REQUIRES(mutex_);
  void StartLocked() REQUIRES(mutex_);
  void StopLocked() REQUIRES(mutex_);
  void BreakLocked() REQUIRES(mutex_);
  // Tells the user of what BreakLocked did since the last call.
  void ReportBroken() EXCLUDES(mutex_);
  // After work: interrupts for what was pushed, and DEVICE_NEEDS_RESET if a queue broke.
  void SettleQueuesLocked() REQUIRES(mutex_);
  void ServeLocked(unsigned queue) REQUIRES(mutex_);
  void UpdateDoorbellsLocked() REQUIRES(mutex_);
  bool QueueFrozenLocked(unsigned queue) const REQUIRES(mutex_);

  const Kind kind_;
  const VirtioEnvironment environment_;
  VirtioInterrupts* interrupts_ = nullptr;
  FileDescriptor kick_;
  std::atomic<uint32_t> kicked_{0};  // queues with a notification that came as an ordinary write
  std::atomic<uint8_t> config_generation_{0};

  uint8_t status_ GUARDED_BY(mutex_) = 0;
  uint64_t driver_features_ GUARDED_BY(mutex_) = 0;
  bool running_ GUARDED_BY(mutex_) = false;  // DRIVER_OK and not NEEDS_RESET
  bool needs_reset_ GUARDED_BY(mutex_) = false;
  const char* broken_by_ GUARDED_BY(mutex_) = nullptr;  // what the driver gave; null: nothing, or reported
  unsigned reports_ GUARDED_BY(mutex_) = 0;
  std::vector<QueueState> states_ GUARDED_BY(mutex_);
  std::vector<SplitQueue> queues_ GUARDED_BY(mutex_);
  std::optional<uint64_t> doorbell_address_ GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Doorbell>> doorbells_ GUARDED_BY(mutex_);
  std::unique_ptr<IoThread> thread_;  // set under the lock; reset by Shutdown without it
};

}  // namespace faultline
