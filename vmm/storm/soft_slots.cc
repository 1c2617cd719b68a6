#include "vmm/storm/soft_slots.h"

namespace faultline {

SoftSlots::SoftSlots(const StormPlan& plan)
    : plan_(plan), slots_(std::make_unique<Slot[]>(plan.slots)), readers_(plan.vcpus) {}

void SoftSlots::OnPlug(const RegionView& region) {
  slots_[plan_.SlotOf(region.gpa.start)].hva.store(region.hva.start.value, std::memory_order_seq_cst);
}

void SoftSlots::OnRevoke(const RegionView& region) noexcept {
  MutexLock lock(mutex_);
  slots_[plan_.SlotOf(region.gpa.start)].revoking.store(true, std::memory_order_relaxed);
  changed_.NotifyAll();
}

// No reader uses the memory after this returns. A reader stores `inside` and then loads `hva`; here `hva` is
// stored and then `inside` loaded; all four are sequentially consistent. So either the reader finds no
// memory, or it is found inside and waited for. `deleting_` and `inside` pair with Leave in the same way, so
// the last one out always notifies.
void SoftSlots::OnUnmap(const RegionView& region) {
  const unsigned slot = plan_.SlotOf(region.gpa.start);
  slots_[slot].hva.store(0, std::memory_order_seq_cst);
  {
    MutexLock lock(mutex_);
    deleting_.store(true, std::memory_order_seq_cst);
    while (AnyInside(slot)) changed_.Wait(mutex_);
    deleting_.store(false, std::memory_order_relaxed);
  }
  EndRevocation(slots_[slot]);
}

void SoftSlots::OnRestore(RegionId /*old_id*/, const RegionView& region) noexcept {
  Slot& slot = slots_[plan_.SlotOf(region.gpa.start)];
  slot.hva.store(region.hva.start.value, std::memory_order_seq_cst);
  EndRevocation(slot);
}

void SoftSlots::EndRevocation(Slot& slot) noexcept {
  MutexLock lock(mutex_);
  slot.revoking.store(false, std::memory_order_relaxed);
  slot.generation.fetch_add(1, std::memory_order_release);
  changed_.NotifyAll();
}

bool SoftSlots::AnyInside(unsigned slot) const noexcept {
  for (const Reader& reader : readers_) {
    if (reader.inside.load(std::memory_order_seq_cst) == slot + 1) return true;
  }
  return false;
}

Bytes SoftSlots::mapped_bytes() const noexcept {
  Bytes sum;
  for (unsigned slot = 0; slot < plan_.slots; ++slot) {
    if (slots_[slot].hva.load(std::memory_order_relaxed) != 0) sum += plan_.slot_size;
  }
  return sum;
}

uint64_t SoftSlots::Enter(unsigned reader, unsigned slot) noexcept {
  readers_[reader].inside.store(slot + 1, std::memory_order_seq_cst);
  return slots_[slot].hva.load(std::memory_order_seq_cst);
}

void SoftSlots::Leave(unsigned reader) noexcept {
  readers_[reader].inside.store(0, std::memory_order_seq_cst);
  if (!deleting_.load(std::memory_order_seq_cst)) return;
  MutexLock lock(mutex_);
  changed_.NotifyAll();
}

bool SoftSlots::WaitForChange(unsigned slot, uint64_t seen_generation, std::chrono::nanoseconds patience) noexcept {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  MutexLock lock(mutex_);
  while (generation(slot) == seen_generation) {
    if (slots_[slot].revoking.load(std::memory_order_relaxed)) {
      changed_.Wait(mutex_);
    } else if (!changed_.WaitUntil(mutex_, deadline)) {
      return generation(slot) != seen_generation || slots_[slot].revoking.load(std::memory_order_relaxed);
    }
  }
  return true;
}

}  // namespace faultline
