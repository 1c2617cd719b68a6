// The thread that takes memory away under a storm's vCPUs and brings it back.
//
// Every churn interval it unplugs one region, by force or by asking first, checks that the host has its
// pages back, and re-plugs it: at once or an interval later, mostly at the same place. Now and then it
// stops all vCPUs and compares the books with what the host has charged.
//
// Life: constructed → PlugAll → Start → RequestStop → WaitStopped → CheckBooks, UnplugAll → destroyed. The
// counters may be read from any thread; everything else belongs to the storm's thread, or to the churn
// thread while it runs.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "guestmem/guest_memory.h"
#include "guestmem/mutex.h"
#include "vmm/builtin_guest/storm_worker.h"
#include "vmm/storm/control_block.h"
#include "vmm/storm/engine.h"
#include "vmm/storm/host_charge.h"
#include "vmm/storm/plan.h"
#include "vmm/storm/storm.h"
#include "vmm/storm/tracking_listener.h"

namespace faultline {

// What churning measured; histograms in ns.
struct ChurnRecord {
  LatencyHistogram unplug, replug, revoke, slot_delete, scan, discard;
  std::atomic<uint64_t> unplugs{0}, cooperative{0}, refusals{0}, replugs{0}, elsewhere{0};
  std::atomic<uint64_t> quiet_points{0};
  std::atomic<uint64_t> unreturned_bytes{0};
  std::atomic<uint64_t> plugged_bytes{0}, charged_bytes{0};  // at the last quiet point
};

class Churn {
 public:
  using Clock = std::chrono::steady_clock;

  struct Parts {
    GuestMemory* memory;
    const StormEngine* engine;
    TrackingListener* listener;
    ControlBlock* control;
    const HostCharge* charge;
    std::shared_ptr<PageSource> source;
  };
  // `patience` is how long a vCPU may need to finish an access. The parts outlive the churn.
  Churn(const Parts& parts, const StormPlan& plan, const StormOptions& options, std::chrono::nanoseconds patience);
  ~Churn();
  Churn(const Churn&) = delete;
  Churn& operator=(const Churn&) = delete;

  // Every region plugged in a slot. Throws Error.
  void PlugAll();
  void Start(Clock::time_point storm_start);
  void RequestStop();
  // False if it is still busy at the deadline: an unplug hangs.
  bool WaitStopped(Clock::time_point deadline);
  // Compares books and host; vCPUs must not run.
  void CheckBooks();
  // Throws Error. Churning has stopped; vCPUs may still run.
  void UnplugAll();

  const ChurnRecord& record() const { return record_; }
  // The oldest plugs and the newest are kept up to a limit.
  std::vector<StormSpan> spans() const;
  // Why churning ended early; empty while all is well.
  std::string failure() const;

 private:
  struct Place {
    RegionId id;
    unsigned slot = 0;
    uint64_t incarnation = 0;
    bool plugged = false;
  };

  void Main();
  void Tick();
  unsigned ChooseVictim();
  bool UnplugRegion(unsigned region, bool cooperative);
  void PlugRegion(unsigned region, unsigned slot);
  unsigned ChooseSlot(unsigned region);
  void QuietPoint();
  void SleepUntil(Clock::time_point when);
  std::chrono::nanoseconds SinceStart() const { return Clock::now() - storm_start_; }

  const Parts parts_;
  const StormPlan plan_;
  const StormOptions options_;
  const std::chrono::nanoseconds patience_;
  storm_abi::Random random_;
  std::vector<Place> places_;        // by region
  std::vector<bool> slot_taken_;     // by slot
  std::vector<unsigned> to_replug_;  // regions that are down
  uint64_t incarnations_ = 0;
  unsigned focus_ = 0;  // region everybody meets on (pattern kSameLeaf)
  ChurnRecord record_;
  Clock::time_point storm_start_{};

  std::thread thread_;
  mutable Mutex mutex_;
  CondVar changed_;
  bool stop_ GUARDED_BY(mutex_) = false;
  bool stopped_ GUARDED_BY(mutex_) = true;
  std::string failure_ GUARDED_BY(mutex_);
  std::vector<StormSpan> spans_ GUARDED_BY(mutex_);
  std::vector<size_t> open_span_ GUARDED_BY(mutex_);  // by region: its current span
};

}  // namespace faultline
