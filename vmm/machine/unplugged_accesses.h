// Accesses to memory that is not there: counted, reported, answered.
//
// Owned by the machine; called from vCPU threads. Thread-safe, does not block, takes no lock.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "guestmem/types.h"
#include "vmm/machine/config.h"
#include "vmm/machine/events.h"

namespace faultline {

class UnpluggedAccesses {
 public:
  // Under policy `ones`, one event in this time at most.
  static constexpr std::chrono::nanoseconds kReportInterval = std::chrono::milliseconds(100);

  // `report` gets those accesses that are to be told of; `stop` is called, after `report`, under policy `stop`.
  UnpluggedAccesses(UnpluggedPolicy policy, std::function<void(const UnpluggedAccessEvent&)> report,
                    std::function<void(const std::string& sentence)> stop)
      : policy_(policy), report_(std::move(report)), stop_(std::move(stop)) {}

  struct Access {
    unsigned vcpu;
    Gpa gpa;
    std::span<std::byte> data;
    bool write;
  };
  // Answers for the empty bus. `rip` is asked only when the access is to be reported.
  void Answer(const Access& access, const std::function<uint64_t()>& rip);

  uint64_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  bool MayReport() noexcept;

  const UnpluggedPolicy policy_;
  const std::function<void(const UnpluggedAccessEvent&)> report_;
  const std::function<void(const std::string&)> stop_;
  std::atomic<uint64_t> count_{0};
  std::atomic<uint64_t> suppressed_{0};
  std::atomic<int64_t> next_report_ns_{0};
};

}  // namespace faultline
