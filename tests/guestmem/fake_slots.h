// A guest without a guest: memory slots like KVM's, and accesses by host threads that stand for vCPUs.
//
// An access goes through process_vm_readv/writev on this very process: the kernel takes the same path as
// for a vCPU (get_user_pages on the host address), sleeps in a userfault, and yields EFAULT on a revoked
// page. Deleting a slot waits for every access under way in any slot, as KVM's SRCU does. A deletion that
// finds an access stuck for kPatience gives up and says so: that is the hang the protocol must prevent.
#pragma once

#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "guestmem/error.h"
#include "guestmem/listener.h"
#include "guestmem/mutex.h"
#include "guestmem/types.h"

namespace faultline {

enum class SlotAccess : uint8_t {
  kOk,
  kNoSlot,  // an ordinary no-slot exit
  kFault,   // EFAULT although nothing is being revoked: a real vCPU would stop
};

class FakeSlots final : public RegionListener {
 public:
  static constexpr std::chrono::seconds kPatience{10};

  // Run inside the callbacks, before anything else (after_plug: last); may throw where the callback may.
  std::function<void(const RegionView&)> on_plug, after_plug, on_revoke, on_unmap;

  void OnPlug(const RegionView& region) override {
    Log("plug");
    if (on_plug) on_plug(region);
    {
      MutexLock lock(mutex_);
      slots_[region.gpa.start.value] = {region.gpa, region.hva};
      ++version_;
      changed_.NotifyAll();
    }
    if (!after_plug) return;
    try {
      after_plug(region);
    } catch (...) {
      MutexLock lock(mutex_);
      slots_.erase(region.gpa.start.value);
      throw;
    }
  }
  void OnRevoke(const RegionView& region) noexcept override {
    Log("revoke");
    {
      MutexLock lock(mutex_);
      ++revoking_;
    }
    if (on_revoke) on_revoke(region);
  }
  void OnUnmap(const RegionView& region) override {
    Log("unmap");
    if (on_unmap) on_unmap(region);
    MutexLock lock(mutex_);
    slots_.erase(region.gpa.start.value);
    const uint64_t cut = next_section_++;
    const auto patience = std::chrono::steady_clock::now() + kPatience;
    while (!sections_.empty() && *sections_.begin() < cut) {
      if (!changed_.WaitUntil(mutex_, patience) && std::chrono::steady_clock::now() >= patience) {
        stuck_ = true;
        slots_[region.gpa.start.value] = {region.gpa, region.hva};
        throw Error("an access did not leave the slot");
      }
    }
    --revoking_;
    ++version_;
    changed_.NotifyAll();
  }
  void OnRestore(RegionId /*old_id*/, const RegionView& region) noexcept override {
    Log("restore");
    MutexLock lock(mutex_);
    restored_ = region.id;
    slots_[region.gpa.start.value] = {region.gpa, region.hva};
    --revoking_;
    ++version_;
    changed_.NotifyAll();
  }

  // As a vCPU: looks the slot up, accesses, and after EFAULT waits for a slot change and looks again.
  SlotAccess Read(Gpa gpa, void* out, size_t size) { return Access(gpa, out, size, /*write=*/false); }
  SlotAccess Write(Gpa gpa, const void* data, size_t size) {
    return Access(gpa, const_cast<void*>(data), size, /*write=*/true);
  }

  bool stuck() const {
    MutexLock lock(mutex_);
    return stuck_;
  }
  RegionId restored() const {
    MutexLock lock(mutex_);
    return restored_;
  }
  // How many accesses are inside a slot right now: sleeping in a fault, most likely.
  size_t inside() const {
    MutexLock lock(mutex_);
    return sections_.size();
  }
  std::vector<std::string> calls() const {
    MutexLock lock(mutex_);
    return {calls_.begin(), calls_.begin() + static_cast<std::ptrdiff_t>(call_count_)};
  }
  HvaRange HostRangeAt(Gpa start) const {
    MutexLock lock(mutex_);
    const auto it = slots_.find(start.value);
    return it == slots_.end() ? HvaRange{} : it->second.hva;
  }

 private:
  struct Slot {
    GpaRange gpa;
    HvaRange hva;
  };

  void Log(const char* call) noexcept {
    MutexLock lock(mutex_);
    if (call_count_ < calls_.size()) calls_[call_count_++] = call;  // allocates nothing
  }

  SlotAccess Access(Gpa gpa, void* buffer, size_t size, bool write) {
    for (;;) {
      uint64_t section = 0;
      uint64_t version = 0;
      Slot slot;
      {
        MutexLock lock(mutex_);
        version = version_;
        auto it = slots_.upper_bound(gpa.value);
        if (it == slots_.begin()) return SlotAccess::kNoSlot;
        slot = (--it)->second;
        if (!slot.gpa.Contains(GpaRange{gpa, Bytes(size)})) return SlotAccess::kNoSlot;
        section = next_section_++;
        sections_.insert(section);
      }
      const Hva hva = slot.hva.start + (gpa - slot.gpa.start);
      const iovec local{buffer, size};
      const iovec remote{ToPointer(hva), size};
      const ssize_t n = write ? process_vm_writev(getpid(), &local, 1, &remote, 1, 0)
                              : process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
      MutexLock lock(mutex_);
      sections_.erase(section);
      changed_.NotifyAll();
      if (n == static_cast<ssize_t>(size)) return SlotAccess::kOk;
      if (revoking_ == 0 && version == version_) return SlotAccess::kFault;
      while (version == version_) changed_.Wait(mutex_);
    }
  }

  mutable Mutex mutex_;
  mutable CondVar changed_;
  std::map<uint64_t, Slot> slots_ GUARDED_BY(mutex_);
  std::set<uint64_t> sections_ GUARDED_BY(mutex_);
  uint64_t next_section_ GUARDED_BY(mutex_) = 1;
  uint64_t version_ GUARDED_BY(mutex_) = 0;
  unsigned revoking_ GUARDED_BY(mutex_) = 0;
  bool stuck_ GUARDED_BY(mutex_) = false;
  RegionId restored_ GUARDED_BY(mutex_);
  std::array<const char*, 64> calls_ GUARDED_BY(mutex_){};  // the first ones
  size_t call_count_ GUARDED_BY(mutex_) = 0;
};

}  // namespace faultline
