#include "guestmem/slow_fill.h"

#include <cerrno>
#include <new>
#include <system_error>
#include <thread>

namespace faultline {

SlowFill::~SlowFill() { Stop(); }

void SlowFill::Stop() noexcept {
  MutexLock lock(mutex_);
  stop_ = true;
  queue_.clear();
  work_.NotifyAll();
  while (running_ > 0) ended_.Wait(mutex_);
}

bool SlowFill::Submit(FillClaim claim) noexcept {
  MutexLock lock(mutex_);
  if (stop_) return false;
  try {
    queue_.push_back(std::move(claim));
    if (idle_ >= queue_.size() || running_ == kMaxThreads) {
      work_.NotifyOne();
      return true;
    }
    if (free_stats_.empty()) {
      free_stats_.reserve(kMaxThreads);
      stats_.push_back(std::make_unique<FaultStats>());
      free_stats_.push_back(stats_.back().get());
    }
    FaultStats* stats = free_stats_.back();
    std::thread([this, stats] { Run(*stats); }).detach();
    free_stats_.pop_back();
    ++running_;
  } catch (const std::exception&) {
    // Threads that run take the work later; with none, nobody would.
    if (running_ == 0) {
      queue_.clear();
      return false;
    }
  }
  return true;
}

void SlowFill::Run(FaultStats& stats) noexcept {
  std::unique_ptr<std::byte[]> buffer;
  size_t buffer_size = 0;
  for (;;) {
    FillClaim claim;
    {
      MutexLock lock(mutex_);
      const auto deadline = std::chrono::steady_clock::now() + kIdle;
      ++idle_;
      while (queue_.empty() && !stop_ && std::chrono::steady_clock::now() < deadline) {
        work_.WaitUntil(mutex_, deadline);
      }
      --idle_;
      if (queue_.empty()) {
        free_stats_.push_back(&stats);  // reserved: does not throw
        --running_;
        ended_.NotifyAll();
        return;
      }
      claim = std::move(queue_.front());
      queue_.pop_front();
    }
    const size_t size = (kPageSize * claim.pages).value;
    if (size > buffer_size) {
      buffer.reset(new (std::nothrow) std::byte[size]);
      buffer_size = buffer != nullptr ? size : 0;
    }
    const int error = buffer == nullptr ? ENOMEM : -claim.source->Read(claim.offset, {buffer.get(), size});
    handler_->CompleteFill(claim, buffer.get(), error, stats);
    MutexLock lock(mutex_);
    ++progress_;
    done_.NotifyAll();
  }
}

uint64_t SlowFill::progress() const noexcept {
  MutexLock lock(mutex_);
  return progress_;
}

void SlowFill::WaitBeyond(uint64_t seen) noexcept {
  MutexLock lock(mutex_);
  if (progress_ > seen || stop_) return;
  done_.WaitUntil(mutex_, std::chrono::steady_clock::now() + std::chrono::milliseconds(10));
}

void SlowFill::AddTotals(FaultTotals& totals) const noexcept {
  MutexLock lock(mutex_);
  for (const auto& stats : stats_) totals.Add(*stats);
}

void SlowFill::MergeLatency(LatencyHistogram& into) const noexcept {
  MutexLock lock(mutex_);
  for (const auto& stats : stats_) into.Merge(stats->latency);
}

}  // namespace faultline
