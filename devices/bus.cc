#include "devices/bus.h"

#include <algorithm>
#include <mutex>
#include <string>
#include <utility>

#include "guestmem/error.h"
#include "guestmem/hex.h"

namespace faultline {

void Bus::Attach(uint64_t base, Bytes size, BusDevice& device, std::shared_ptr<const void> owner) {
  const uint64_t last = base + (size.value - 1);
  if (size.value == 0 || last < base) {
    throw Error("a device range at " + Hex(base) + " is empty or wraps around; give it a size that fits the bus");
  }
  const std::unique_lock lock(mutex_);
  const auto after =
      std::ranges::upper_bound(attachments_, base, {}, [](const Attachment& attachment) { return attachment.base; });
  const bool overlaps_next = after != attachments_.end() && after->base <= last;
  const bool overlaps_previous = after != attachments_.begin() && std::prev(after)->last >= base;
  if (overlaps_next || overlaps_previous) {
    throw Error("bus addresses " + Hex(base) + ".." + Hex(last) +
                " already belong to another device; attach the device elsewhere");
  }
  attachments_.insert(after, Attachment{base, last, &device, std::move(owner)});
}

bool Bus::Detach(uint64_t base) {
  // Let go of after the lock: it may be the last reference.
  std::shared_ptr<const void> owner;
  const std::unique_lock lock(mutex_);
  const auto it =
      std::ranges::lower_bound(attachments_, base, {}, [](const Attachment& attachment) { return attachment.base; });
  if (it == attachments_.end() || it->base != base) return false;
  owner = std::move(it->owner);
  attachments_.erase(it);
  return true;
}

Bus::Attachment Bus::Find(uint64_t address, size_t size) const {
  const uint64_t last = address + (size - 1);
  if (size == 0 || last < address) return {};
  const std::shared_lock lock(mutex_);
  const auto after =
      std::ranges::upper_bound(attachments_, address, {}, [](const Attachment& attachment) { return attachment.base; });
  if (after == attachments_.begin()) return {};
  const Attachment& candidate = *std::prev(after);
  return candidate.last >= last ? candidate : Attachment{};
}

bool Bus::Read(uint64_t address, std::span<std::byte> out) const {
  const Attachment found = Find(address, out.size());
  if (found.device == nullptr) return false;
  found.device->Read(Bytes(address - found.base), out);
  return true;
}

bool Bus::Write(uint64_t address, std::span<const std::byte> data) const {
  const Attachment found = Find(address, data.size());
  if (found.device == nullptr) return false;
  found.device->Write(Bytes(address - found.base), data);
  return true;
}

}  // namespace faultline
