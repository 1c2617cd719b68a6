#include "vmm/machine/unplugged_accesses.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace faultline {
namespace {

std::string StopSentence(const UnpluggedAccessEvent& access) {
  std::array<char, 160> text{};
  std::snprintf(text.data(), text.size(), "vCPU %u %s guest-physical 0x%llx, where no memory is plugged (RIP 0x%llx)",
                access.vcpu, access.write ? "wrote to" : "read from", static_cast<unsigned long long>(access.gpa.value),
                static_cast<unsigned long long>(access.rip));
  return text.data();
}

}  // namespace

bool UnpluggedAccesses::MayReport() noexcept {
  if (policy_ != UnpluggedPolicy::kOnes) return true;
  const int64_t now = std::chrono::steady_clock::now().time_since_epoch().count();
  int64_t next = next_report_ns_.load(std::memory_order_relaxed);
  return now >= next &&
         next_report_ns_.compare_exchange_strong(next, now + kReportInterval.count(), std::memory_order_relaxed);
}

void UnpluggedAccesses::Answer(const Access& access, const std::function<uint64_t()>& rip) {
  if (!access.write) std::fill(access.data.begin(), access.data.end(), std::byte{0xff});
  count_.fetch_add(1, std::memory_order_relaxed);
  if (!MayReport()) {
    suppressed_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const UnpluggedAccessEvent event{access.vcpu,  rip(),
                                   access.gpa,   static_cast<unsigned>(access.data.size()),
                                   access.write, suppressed_.exchange(0, std::memory_order_relaxed)};
  report_(event);
  if (policy_ == UnpluggedPolicy::kStop) stop_(StopSentence(event));
}

}  // namespace faultline
