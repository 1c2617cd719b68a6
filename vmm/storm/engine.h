// What runs a storm's vCPUs: a real VM or host threads.
//
// Life: constructed → guest memory is made with its listener() → Prepare → Start → (the block's command
// says stop) → Stop → Release → destroyed, after the guest memory. All calls come from the storm's thread;
// unplugged_accesses() and failure() from any.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "guestmem/guest_memory.h"
#include "guestmem/host.h"
#include "guestmem/listener.h"
#include "vmm/builtin_guest/storm_abi.h"
#include "vmm/storm/plan.h"

namespace faultline {

class StormEngine {
 public:
  virtual ~StormEngine() = default;

  // Told of every region, boot memory included.
  virtual RegionListener& listener() = 0;
  // Makes the block that host and vCPUs share, zeroed, and returns it. Throws Error.
  virtual storm_abi::Block* Prepare(GuestMemory& memory) = 0;
  // Lets the vCPUs run; the block is filled in. Throws Error.
  virtual void Start() = 0;
  // Waits until all vCPUs have ended; false if one has not by `deadline`. Call again with a later one.
  virtual bool Stop(std::chrono::steady_clock::time_point deadline) = 0;
  // Takes away what Prepare plugged, the block with it, so that guest memory is empty. vCPUs have stopped.
  // Throws Error.
  virtual void Release(GuestMemory& memory) = 0;

  // What its memslots hold, in bytes: as guest memory's books should have it.
  virtual Bytes mapped_bytes() const = 0;
  // Guest accesses that met no memory.
  virtual uint64_t unplugged_accesses() const = 0;
  // How many of Ticks() make a second; 0 when not known yet.
  virtual double ticks_per_second() const = 0;
  // Why a vCPU could not go on; empty while all is well.
  virtual std::string failure() const = 0;
};

std::unique_ptr<StormEngine> MakeThreadsEngine(const StormPlan& plan);
// Throws Error when there is no KVM to use.
std::unique_ptr<StormEngine> MakeKvmEngine(Host& host, const StormPlan& plan);

}  // namespace faultline
