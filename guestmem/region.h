// One incarnation of a stretch of guest memory: its place, its backing, its shadow, its life.
//
// Owned by GuestMemory, which creates it Live, retires it Dead, and lets RCU free it: a fault may hold
// a region in any state for as long as its read section lasts. Life only moves forward. Everything but
// the life and the pins is immutable, so readers need no lock.
//
// The dead mark is the store of kDying. It is sequentially consistent and precedes every critical
// section of the unplug's scan; a fault reads it inside the link lock (before linking a table) and
// inside the leaf lock (before installing a page): see shadow_table.h and fault_handler.h.
#pragma once

#include <atomic>
#include <cassert>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "guestmem/backing.h"
#include "guestmem/listener.h"
#include "guestmem/mutex.h"
#include "guestmem/page_installer.h"
#include "guestmem/page_source.h"
#include "guestmem/rcu_domain.h"
#include "guestmem/shadow_table.h"
#include "guestmem/types.h"

namespace faultline {

enum class RegionLife : uint8_t { kLive, kDying, kDead };

// Counts the asynchronous users of a region and can be closed against new ones.
class PinGate {
 public:
  // False when the gate is closed.
  bool Enter(std::string_view owner) EXCLUDES(mutex_);
  void Leave(std::string_view owner) noexcept EXCLUDES(mutex_);

  // Shuts the gate and waits until `deadline` for everybody to leave. When somebody stays: takes the
  // closing back and returns that one's name; otherwise returns an empty name and leaves the gate shut
  // until Open. Several may close at once: the gate is open when each of them has opened it again.
  std::string CloseBy(std::chrono::steady_clock::time_point deadline) EXCLUDES(mutex_);
  void Open() noexcept EXCLUDES(mutex_);
  unsigned count() const noexcept EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  CondVar left_;
  unsigned closers_ GUARDED_BY(mutex_) = 0;
  std::vector<std::string_view> owners_ GUARDED_BY(mutex_);
};

class Region final : public RcuObject {
 public:
  // What an incarnation hands to its successor when its unplug is rolled back.
  struct Memory {
    std::string name;
    GpaRange gpa;
    BackingSpec backing_spec;
    bool read_only = false;
    // Destroyed last to first: the mapping goes after whoever installs into it.
    std::shared_ptr<Backing> backing;
    std::shared_ptr<PageInstaller> installer;
    std::shared_ptr<PageSource> source;
    std::shared_ptr<ShadowTable> shadow;
    std::shared_ptr<PinGate> pins;
  };

  Region(RegionId id, Memory memory) : id_(id), memory_(std::move(memory)) {}

  RegionId id() const { return id_; }
  const Memory& memory() const { return memory_; }
  GpaRange gpa() const { return memory_.gpa; }
  HvaRange hva() const { return memory_.backing->range(); }
  Hva ToHva(Gpa gpa) const { return hva().start + (gpa - memory_.gpa.start); }
  Gpa ToGpa(Hva hva) const { return memory_.gpa.start + (hva - this->hva().start); }
  Bytes granule() const { return memory_.backing->granule(); }
  ShadowTable& shadow() const { return *memory_.shadow; }
  PageInstaller& installer() const { return *memory_.installer; }
  PageSource& source() const { return *memory_.source; }
  PinGate& pins() const { return *memory_.pins; }
  RegionView View() const { return {id_, memory_.name, memory_.gpa, hva(), memory_.read_only}; }

  RegionLife life() const noexcept { return life_.load(std::memory_order_seq_cst); }
  // One step forward: Live to Dying, Dying to Dead.
  void AdvanceLife(RegionLife to) noexcept {
    assert(static_cast<int>(to) == static_cast<int>(life()) + 1 && "a region's life only moves forward");
    life_.store(to, std::memory_order_seq_cst);
  }

 private:
  const RegionId id_;
  const Memory memory_;
  std::atomic<RegionLife> life_{RegionLife::kLive};
};

}  // namespace faultline
