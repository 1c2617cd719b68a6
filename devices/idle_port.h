// Where a guest that may not execute HLT waits for something to do: reading the port blocks the vCPU.
//
// Owned by the machine. A read returns 1 as soon as something was notified since this thread's last read,
// and 0 after at most kMaxWait or while interrupted; so a guest that looks for work, finds none and then
// reads never misses a notification in between. A guest's write notifies, which is how its vCPUs wake
// each other. All members are thread-safe; only Read blocks, and it holds no lock while it does.
#pragma once

#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "devices/bus.h"
#include "guestmem/mutex.h"

namespace faultline {

class IdlePort final : public BusDevice {
 public:
  static constexpr uint64_t kPort = 0x5f4;
  static constexpr Bytes kPortCount{4};
  static constexpr std::chrono::milliseconds kMaxWait{100};

  void Read(Bytes offset, std::span<std::byte> out) override;
  void Write(Bytes offset, std::span<const std::byte> data) override;

  // Something happened that the guest should look at (console input, a hot-plug event).
  void Notify();
  // Every read returns at once, those that wait now and all later ones, until Rearm: for pause and stop.
  void Interrupt();
  void Rearm();

 private:
  // What one vCPU thread has seen, so that notifications are neither lost nor delivered twice to it.
  struct Reader {
    std::thread::id thread;
    uint64_t seen;
  };
  uint64_t& SeenLocked() REQUIRES(mutex_);

  Mutex mutex_;
  CondVar changed_;
  uint64_t notifications_ GUARDED_BY(mutex_) = 1;  // a reader starts at 0: its first read returns at once
  bool interrupted_ GUARDED_BY(mutex_) = false;
  std::vector<Reader> readers_ GUARDED_BY(mutex_);
};

}  // namespace faultline
