// Keeps a userfault reader on the CPU of the one thread it serves.
//
// Waking an idle CPU costs several times the fault itself (a reader on another, idle core made a page
// cost 78 µs where 17 µs were possible): when the faulting thread sleeps, its own CPU is the one that is
// awake. So while all messages come from one thread, the reader pins itself to that thread's CPU, as
// /proc says; as soon as several threads fault it lets the scheduler choose again.
//
// One instance for each reader thread, used by it alone. Never blocks.
#pragma once

#include <sched.h>

#include <cstdint>

namespace faultline {

class CpuFollower {
 public:
  // Takes the calling thread's present affinity as what to return to.
  CpuFollower() noexcept;
  // A message of thread `tid` was served at `now_ns`.
  void Served(uint32_t tid, uint64_t now_ns) noexcept;

 private:
  // How often the thread's CPU is looked up, in ns: the look-up costs some 10 µs.
  static constexpr uint64_t kInterval = 4'000'000;

  void Follow(uint32_t tid) noexcept;
  void Release() noexcept;

  cpu_set_t original_;
  uint32_t tid_ = 0;      // whose messages this interval brought
  bool several_ = false;  // more than one thread's
  uint64_t checked_ns_ = 0;
  int pinned_cpu_ = -1;
};

}  // namespace faultline
