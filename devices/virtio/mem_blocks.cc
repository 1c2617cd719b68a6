#include "devices/virtio/mem_blocks.h"

#include <algorithm>
#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

// How long asynchronous I/O may keep a block that the guest gave up.
constexpr std::chrono::seconds kPinDeadline{1};

}  // namespace

MemBlocks::MemBlocks(GuestMemory& memory, Layout layout)
    : memory_(memory),
      layout_(std::move(layout)),
      plugged_(layout_.region.size / layout_.block),
      regions_(layout_.region.size / layout_.block) {}

std::optional<MemBlocks::Run> MemBlocks::Find(Gpa start, uint64_t count) const {
  if (start < layout_.region.start || !IsAligned(start - layout_.region.start, layout_.block)) return std::nullopt;
  const uint64_t first = (start - layout_.region.start) / layout_.block;
  if (count == 0 || first >= plugged_.size() || count > plugged_.size() - first) return std::nullopt;
  return Run{first, count};
}

bool MemBlocks::AllPlugged(Run run) const {
  const auto begin = plugged_.begin() + static_cast<ptrdiff_t>(run.first);
  return std::all_of(begin, begin + static_cast<ptrdiff_t>(run.count), [](bool plugged) { return plugged; });
}

bool MemBlocks::NonePlugged(Run run) const {
  const auto begin = plugged_.begin() + static_cast<ptrdiff_t>(run.first);
  return std::none_of(begin, begin + static_cast<ptrdiff_t>(run.count), [](bool plugged) { return plugged; });
}

RegionId MemBlocks::PlugBlock(size_t block) {
  RegionSpec spec;
  spec.name = layout_.name;
  spec.gpa = {StartOf(block), layout_.block};
  spec.backing = layout_.backing;
  return memory_.Plug(spec);
}

void MemBlocks::Plug(Run run) {
  size_t done = 0;
  try {
    for (; done < run.count; ++done) {
      regions_[run.first + done] = PlugBlock(run.first + done);
      plugged_[run.first + done] = true;
      ++plugged_count_;
    }
  } catch (const std::exception& e) {
    const std::string why = e.what();
    if (done > 0) Unplug({run.first, done});
    throw Error(why);
  }
}

void MemBlocks::Unplug(Run run) {
  std::vector<size_t> emptied;
  bool refused = false;  // the host did not take pages back at once
  try {
    emptied.reserve(run.count);
    for (size_t block = run.first; block < run.first + run.count; ++block) {
      if (!plugged_[block]) continue;
      if (regions_[block] != RegionId{}) {
        const UnplugReport report = memory_.Unplug(regions_[block], {.pin_deadline = kPinDeadline});
        refused = refused || report.discard_error != 0;
      }
      regions_[block] = {};
      emptied.push_back(block);
    }
  } catch (const std::exception& e) {
    const std::string why = e.what();
    // An unplug that was rolled back has given the block another id.
    for (size_t block = run.first; block < run.first + run.count; ++block) {
      if (regions_[block] != RegionId{}) regions_[block] = memory_.FindRegion(StartOf(block)).value_or(RegionId{});
    }
    for (const size_t block : emptied) {
      try {
        regions_[block] = PlugBlock(block);
      } catch (const std::exception&) {
        // The guest counts it as plugged and does not use it: it asks again, and then there is nothing to take.
      }
    }
    throw Error(why);
  }
  for (const size_t block : emptied) plugged_[block] = false;
  plugged_count_ -= emptied.size();
  // Then the pages went with their mappings: see that they did.
  if (refused) memory_.AwaitFreed();
}

}  // namespace faultline
