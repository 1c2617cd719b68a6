// A vCPU and the thread that runs it: enters the guest, hands exits to an ExitHandler, and parks on demand.
//
// Life: constructed paused with its thread not yet begun → Start → running ⇄ parked → finished (its handler
// said so, it met trouble, or Stop). The owner destroys it, which stops it first. Thread-safe. A request takes
// effect wherever the vCPU is: in guest code, blocked in a userfault (KVM gives up on a signal since Linux
// 6.2), waiting for the memslot table, or, with the handler's help, in a device that blocks.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "guestmem/mutex.h"
#include "vmm/kvm/exit_handler.h"
#include "vmm/kvm/memslots.h"
#include "vmm/kvm/vcpu.h"

namespace faultline {

class VcpuThread {
 public:
  // All outlive the thread. The vCPU's registers must be set before Start.
  VcpuThread(std::unique_ptr<Vcpu> vcpu, ExitHandler& handler, MemslotTable& slots);
  // Stops it and joins.
  ~VcpuThread();
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;

  // Begins the thread; parked at once if `paused`. Throws Error when the host has no thread to give. Once.
  void Start(bool paused = false);

  // Asks it to leave the guest and park, and does not wait. A vCPU may ask itself, in a handler: it parks
  // after the access it is in has been completed.
  void RequestPause() noexcept;
  // Asks the thread to end, and does not wait.
  void RequestStop() noexcept;
  // Lets it go on.
  void Resume() noexcept;
  // Between the two it stays out of KVM_RUN, whoever resumes it; afterwards it is as paused or running as it would
  // be without. Holds add up. Neither waits.
  void Hold() noexcept;
  void Release() noexcept;

  // Blocks until it runs no guest code, parked or finished, or was resumed meanwhile. Neither this nor the next
  // is for the vCPU's own thread.
  void WaitParked() noexcept;
  // Blocks until it has finished; RequestStop came before, or a handler ends it.
  void WaitFinished() noexcept;

  bool finished() const noexcept;
  bool is_current_thread() const noexcept;
  unsigned index() const { return vcpu_->index(); }
  // The host's thread id, 0 before Start. Right after it, blocks until the thread has begun.
  int thread_id() const noexcept;
  // Only while parked or finished, or before Start.
  Vcpu& vcpu() { return *vcpu_; }

  // How often a KVM_RUN came back with EFAULT because memory was being unplugged.
  uint64_t revoked_faults() const noexcept { return revoked_faults_.load(std::memory_order_relaxed); }

 private:
  enum class State : uint8_t { kIdle, kRunning, kParked, kFinished };

  void Main() noexcept;
  VcpuAction RunOnce();
  void KickLocked() noexcept REQUIRES(mutex_);
  VcpuAction ParkIfAsked() noexcept;
  VcpuAction HandleExit();
  VcpuAction HandleInternalError();
  VcpuAction HandlePortIo();
  VcpuAction HandleMmio();
  VcpuAction HandleBadMemory(uint64_t seen_generation);
  VcpuAction Trouble(VcpuTrouble trouble, const std::string& sentence);

  std::unique_ptr<Vcpu> vcpu_;
  ExitHandler* handler_;
  MemslotTable* slots_;
  std::thread thread_;
  std::atomic<int> thread_id_{0};
  std::atomic<uint64_t> revoked_faults_{0};
  std::atomic<bool> asked_{false};   // a pause, a hold or a stop is wanted; mirrors the three below
  unsigned unexplained_faults_ = 0;  // in a row; the thread's own, as is the next
  unsigned transient_failures_ = 0;
  unsigned woken_before_start_ = 0;

  mutable RankedMutex<LockRank::kMachine> mutex_;
  CondVar changed_;
  State state_ GUARDED_BY(mutex_) = State::kIdle;
  bool pause_wanted_ GUARDED_BY(mutex_) = false;
  bool stop_wanted_ GUARDED_BY(mutex_) = false;
  unsigned holds_ GUARDED_BY(mutex_) = 0;
};

}  // namespace faultline
