#include "guestmem/cpu_follower.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace faultline {
namespace {

// The CPU a thread of this process ran on last, or -1. proc(5), /proc/pid/stat field 39.
int LastCpuOf(uint32_t tid) noexcept {
  char path[64];
  snprintf(path, sizeof(path), "/proc/self/task/%u/stat", tid);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  char text[1024];
  const ssize_t n = read(fd, text, sizeof(text) - 1);
  close(fd);
  if (n <= 0) return -1;
  text[n] = '\0';
  const char* p = strrchr(text, ')');  // the name before it may hold anything
  if (p == nullptr) return -1;
  for (int field = 2; field < 39; ++field) {
    p = strchr(p + 1, ' ');
    if (p == nullptr) return -1;
  }
  return static_cast<int>(strtol(p + 1, nullptr, 10));
}

}  // namespace

CpuFollower::CpuFollower() noexcept {
  CPU_ZERO(&original_);
  sched_getaffinity(0, sizeof(original_), &original_);
}

void CpuFollower::Served(uint32_t tid, uint64_t now_ns) noexcept {
  if (tid_ == 0) tid_ = tid;
  several_ = several_ || tid != tid_;
  if (now_ns - checked_ns_ < kInterval) return;
  checked_ns_ = now_ns;
  if (several_) {
    Release();
  } else {
    Follow(tid);
  }
  tid_ = 0;
  several_ = false;
}

void CpuFollower::Follow(uint32_t tid) noexcept {
  const int cpu = LastCpuOf(tid);
  if (cpu < 0 || cpu == pinned_cpu_ || cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &original_)) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof(set), &set) == 0) pinned_cpu_ = cpu;
}

void CpuFollower::Release() noexcept {
  if (pinned_cpu_ < 0) return;
  sched_setaffinity(0, sizeof(original_), &original_);
  pinned_cpu_ = -1;
}

}  // namespace faultline
