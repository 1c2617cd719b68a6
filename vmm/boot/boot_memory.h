// The guest's memory while a kernel is put into it: which parts are taken, and how bytes get there.
//
// Lives for one LoadKernel, on one thread. Every failure is an Error or UsageError with a sentence.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "guestmem/guest_memory.h"
#include "vmm/boot/image_source.h"
#include "vmm/boot/memory_map.h"

namespace faultline {

class BootMemory {
 public:
  // `zeroed`: RAM reads as zero before anything is put there. `memory` outlives this.
  BootMemory(GuestMemory& memory, const std::vector<GpaRange>& ram, const std::vector<GpaRange>& reserved, bool zeroed);

  const std::vector<MemoryMapEntry>& map() const { return map_; }

  // Takes a range; `what` names it in messages. Throws when part of it is no RAM or taken.
  void Claim(GpaRange range, const std::string& what);
  // Takes the highest free range of whole pages that ends at or below `limit`, which lies below 4 GiB.
  GpaRange ClaimHigh(Bytes size, Gpa limit, const std::string& what);
  // Takes `size` bytes of low memory for what the kernel is told, one after the other.
  Gpa ClaimLow(Bytes size, Bytes alignment = Bytes(16));

  // Into RAM, claimed or not.
  void Write(Gpa to, std::span<const std::byte> data);
  template <class T>
  void WriteValue(Gpa to, const T& value) {
    Write(to, std::as_bytes(std::span(&value, 1)));
  }
  // In pieces, so that a large file passes through little memory of the host.
  void Copy(const ImageSource& source, Bytes offset, Bytes size, Gpa to);
  // Touches nothing when RAM is zero already.
  void Zero(GpaRange range);

 private:
  bool IsRam(GpaRange range) const;
  const GpaRange* FindClaim(GpaRange range) const;

  GuestMemory& memory_;
  const bool zeroed_;
  std::vector<MemoryMapEntry> map_;
  std::vector<GpaRange> claims_;
  Gpa next_low_;
};

// "46 MiB" and the like, for messages: rounded up to whole units.
std::string RoundedSizeText(Bytes size);

}  // namespace faultline
