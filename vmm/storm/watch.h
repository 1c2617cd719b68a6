// Tells which vCPUs have made no progress for too long, from heartbeats seen now and then.
//
// For one thread. A vCPU counts once, even if it moves again later.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace faultline {

class VcpuWatch {
 public:
  using Clock = std::chrono::steady_clock;

  VcpuWatch(unsigned vcpus, std::chrono::nanoseconds bound, Clock::time_point start)
      : bound_(bound), vcpus_(vcpus, Vcpu{0, start, false}) {}

  void Observe(unsigned vcpu, uint64_t heartbeat, Clock::time_point now) {
    Vcpu& seen = vcpus_[vcpu];
    if (heartbeat != seen.heartbeat) {
      seen.heartbeat = heartbeat;
      seen.since = now;
    } else if (!seen.stuck && now - seen.since > bound_) {
      seen.stuck = true;
      ++stuck_;
    }
  }
  unsigned stuck() const { return stuck_; }

 private:
  struct Vcpu {
    uint64_t heartbeat;
    Clock::time_point since;
    bool stuck;
  };
  const std::chrono::nanoseconds bound_;
  std::vector<Vcpu> vcpus_;
  unsigned stuck_ = 0;
};

}  // namespace faultline
