#include "vmm/kvm/memslots.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kTries = 6;
constexpr std::chrono::milliseconds kFirstPause{1};

bool IsTransient(int error) { return error == ENOMEM || error == EINTR || error == EAGAIN; }

std::string Text(const RegionView& region) { return "memory '" + std::string(region.name) + "'"; }

}  // namespace

MemslotTable::MemslotTable(const KvmVm& vm) : vm_(&vm), max_slots_(vm.max_slots()) {}

void MemslotTable::SetVcpuHold(VcpuHold vcpus) { slow_update_ = std::make_unique<SlowUpdate>(std::move(vcpus)); }

int MemslotTable::SetWithRetry(SlotId slot, GpaRange gpa, Hva hva, bool read_only) const noexcept {
  const SlowUpdate::Update update(slow_update_.get());
  int rc = 0;
  auto pause = kFirstPause;
  for (int i = 0; i < kTries; ++i, pause *= 2) {
    rc = vm_->SetUserMemoryRegion(slot, gpa, hva, read_only);
    if (rc == 0 || !IsTransient(-rc)) return rc;
    if (rc != -EINTR) std::this_thread::sleep_for(pause);
  }
  return rc;
}

void MemslotTable::OnPlug(const RegionView& region) {
  SlotId slot;
  {
    MutexLock lock(mutex_);
    if (free_.empty() && next_slot_ == max_slots_) {
      throw Error("KVM has no memslot left for " + Text(region) + " (this host allows " + std::to_string(max_slots_) +
                  "): unplug some memory first");
    }
    // All that has to be remembered later is allocated now: unplugging must not fail for want of memory.
    if (free_.capacity() < next_slot_ + 1) free_.reserve(2 * (next_slot_ + 1));
    if (revoking_.capacity() < next_slot_ + 1) revoking_.reserve(2 * (next_slot_ + 1));
    slot = free_.empty() ? SlotId{next_slot_} : free_.back();
    entries_.emplace(region.id, Entry{region.id, slot, region.gpa});
    if (free_.empty()) {
      ++next_slot_;
    } else {
      free_.pop_back();
    }
  }
  const int rc = SetWithRetry(slot, region.gpa, region.hva.start, region.read_only);
  if (rc == 0) return;
  {
    MutexLock lock(mutex_);
    entries_.erase(region.id);
    free_.push_back(slot);
  }
  throw Error("KVM did not map " + Text(region) + " (" + ErrnoText(-rc) +
              (IsTransient(-rc) ? "): free some memory on the host and plug again"
                                : "): its range does not suit this host's KVM"));
}

void MemslotTable::OnRevoke(const RegionView& region) noexcept {
  MutexLock lock(mutex_);
  revoking_.push_back(region.id);
  changed_.NotifyAll();
}

void MemslotTable::EndRevocationLocked(RegionId region) {
  std::erase(revoking_, region);
  generation_.fetch_add(1, std::memory_order_release);
  changed_.NotifyAll();
}

void MemslotTable::OnUnmap(const RegionView& region) {
  SlotId slot;
  {
    MutexLock lock(mutex_);
    const auto it = entries_.find(region.id);
    if (it == entries_.end()) throw Error(Text(region) + " has no memslot: it was never plugged here");
    slot = it->second.slot;
  }
  if (!abandoned_.load(std::memory_order_relaxed)) {
    const auto start = Clock::now();
    const int rc = SetWithRetry(slot, {region.gpa.start, Bytes(0)}, region.hva.start, region.read_only);
    if (rc != 0) {
      throw Error("KVM did not unmap " + Text(region) + " (" + ErrnoText(-rc) +
                  "): free some memory on the host and unplug again");
    }
    const auto took = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start);
    delete_latency_.Record(static_cast<uint64_t>(took.count()));
  }
  MutexLock lock(mutex_);
  entries_.erase(region.id);
  free_.push_back(slot);
  EndRevocationLocked(region.id);
}

void MemslotTable::OnRestore(RegionId old_id, const RegionView& region) noexcept {
  MutexLock lock(mutex_);
  // The node keeps its memory: nothing is allocated, so nothing can fail.
  auto node = entries_.extract(old_id);
  if (!node.empty()) {
    node.key() = region.id;
    node.mapped().region = region.id;
    entries_.insert(std::move(node));
  }
  EndRevocationLocked(old_id);
}

MemslotTable::Wake MemslotTable::WaitForChange(uint64_t seen, const std::atomic<bool>& interrupt,
                                               std::chrono::nanoseconds patience) noexcept {
  const auto deadline = Clock::now() + patience;
  MutexLock lock(mutex_);
  while (true) {
    if (generation() != seen) return Wake::kChanged;
    if (interrupt.load(std::memory_order_acquire)) return Wake::kInterrupted;
    if (!revoking_.empty()) {
      changed_.Wait(mutex_);
    } else if (!changed_.WaitUntil(mutex_, deadline)) {
      if (generation() != seen) return Wake::kChanged;
      if (revoking_.empty()) return Wake::kNoRevocation;
    }
  }
}

void MemslotTable::WakeWaiters() noexcept {
  MutexLock lock(mutex_);
  changed_.NotifyAll();
}

std::vector<MemslotTable::Entry> MemslotTable::Entries() const {
  MutexLock lock(mutex_);
  std::vector<Entry> entries;
  entries.reserve(entries_.size());
  for (const auto& [id, entry] : entries_) entries.push_back(entry);
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.gpa.start < b.gpa.start; });
  return entries;
}

Bytes MemslotTable::mapped_bytes() const {
  MutexLock lock(mutex_);
  Bytes sum;
  for (const auto& [id, entry] : entries_) sum += entry.gpa.size;
  return sum;
}

}  // namespace faultline
