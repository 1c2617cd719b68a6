// A storm's geometry: how many window slots its regions move among, and where everything lies.
#pragma once

#include "guestmem/types.h"
#include "vmm/builtin_guest/storm_abi.h"
#include "vmm/storm/storm.h"

namespace faultline {

inline constexpr unsigned kMaxStormRegions = 1024;

struct StormPlan {
  unsigned vcpus;
  unsigned regions;
  unsigned slots;  // more than regions, so that a region can come back elsewhere
  Bytes slot_size;
  GpaRange window;
  storm_abi::Layout layout;
  Bytes block_size;

  // `with_initial`: memory does not begin as zeroes, so vCPUs need to be told what to expect.
  static StormPlan For(const StormOptions& options, bool with_initial) {
    StormPlan plan{};
    plan.vcpus = options.vcpus;
    plan.regions = options.regions;
    plan.slots = options.regions + (options.regions + 3) / 4 + 1;
    static_assert(kMaxStormRegions + (kMaxStormRegions + 3) / 4 + 1 <= storm_abi::kMaxSlots);
    plan.slot_size = options.region_size;
    plan.window = {Gpa((4_GiB).value), options.region_size * plan.slots};
    plan.layout =
        storm_abi::Layout::For(plan.vcpus, plan.slots, plan.slot_size / Bytes(storm_abi::kPageBytes), with_initial);
    plan.block_size = AlignUp(Bytes(plan.layout.size), kLeafSpan);
    return plan;
  }

  GpaRange SlotRange(unsigned slot) const { return {window.start + slot_size * slot, slot_size}; }
  unsigned SlotOf(Gpa gpa) const { return static_cast<unsigned>((gpa - window.start) / slot_size); }
};

}  // namespace faultline
