// A GuestMemory with real userfaults, fake slots, and ways to hold a step of the protocol.
#pragma once

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "guestmem/guest_memory.h"
#include "guestmem/protocol_observer.h"
#include "tests/guestmem/fake_slots.h"

namespace faultline {

// Holds one thread at one step until the test lets it go; other threads pass. Also runs an action at
// every step, for tests that must hold at all of them.
class StepGate final : public ProtocolObserver {
 public:
  // Has the next thread that takes `step` stop there.
  void HoldAt(ProtocolStep step) {
    MutexLock lock(mutex_);
    hold_at_ = static_cast<int>(step);
    held_ = false;
  }
  // Blocks until a thread is held.
  void AwaitHeld() {
    MutexLock lock(mutex_);
    while (!held_) changed_.Wait(mutex_);
  }
  bool held() const {
    MutexLock lock(mutex_);
    return held_;
  }
  void Release() {
    MutexLock lock(mutex_);
    hold_at_ = -1;
    held_ = false;
    changed_.NotifyAll();
  }
  void set_action(std::function<void(ProtocolStep)> action) {
    MutexLock lock(mutex_);
    action_ = action ? std::make_shared<const std::function<void(ProtocolStep)>>(std::move(action)) : nullptr;
  }
  // How often `step` was taken.
  uint64_t count(ProtocolStep step) const { return counts_[static_cast<size_t>(step)].load(); }

  void At(ProtocolStep step, RegionId /*region*/) noexcept override {
    counts_[static_cast<size_t>(step)].fetch_add(1);
    std::shared_ptr<const std::function<void(ProtocolStep)>> action;
    {
      MutexLock lock(mutex_);
      action = action_;
    }
    if (action) (*action)(step);
    MutexLock lock(mutex_);
    if (hold_at_ != static_cast<int>(step)) return;
    hold_at_ = -1;
    held_ = true;
    changed_.NotifyAll();
    while (held_) changed_.Wait(mutex_);
  }

 private:
  std::array<std::atomic<uint64_t>, 32> counts_{};
  // The observer is called with leaf locks held: a lock outside the project's order.
  mutable Mutex mutex_;
  mutable CondVar changed_;
  int hold_at_ GUARDED_BY(mutex_) = -1;
  bool held_ GUARDED_BY(mutex_) = false;
  std::shared_ptr<const std::function<void(ProtocolStep)>> action_ GUARDED_BY(mutex_);
};

// Pages of the calling process that are resident in `range`.
inline size_t ResidentPages(HvaRange range) {
  std::vector<unsigned char> resident(range.size / kPageSize);
  if (mincore(ToPointer(range.start), range.size.value, resident.data()) != 0) return 0;
  size_t n = 0;
  for (const unsigned char page : resident) n += page & 1U;
  return n;
}

class MemoryWorld {
 public:
  static GuestMemoryOptions Options(unsigned fault_around = 1, bool userfault = true) {
    GuestMemoryOptions options;
    options.fault_around.pages = fault_around;
    options.shards = 2;
    options.placement = ReaderPlacement::kFloat;
    options.userfault = userfault;
    return options;
  }
  explicit MemoryWorld(const GuestMemoryOptions& options = Options(), Host& host = Host::System())
      : memory(host, slots, options, &gate) {}

  RegionId Plug(Gpa gpa, Bytes size, std::shared_ptr<PageSource> source = nullptr, BackingSpec backing = {}) {
    RegionSpec spec;
    spec.name = "dimm";
    spec.gpa = {gpa, size};
    spec.source = std::move(source);
    spec.backing = std::move(backing);
    return memory.Plug(spec);
  }
  uint8_t ReadByte(Gpa gpa) {
    uint8_t value = 0xee;
    const SlotAccess result = slots.Read(gpa, &value, 1);
    return result == SlotAccess::kOk ? value : 0xdd;
  }

  unsigned polls = 0;  // for tests that wait for one of two things
  StepGate gate;
  FakeSlots slots;
  GuestMemory memory;
};

}  // namespace faultline
