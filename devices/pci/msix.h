// The MSI-X table and pending bits of one PCI function (PCI Local Bus 3.0 §6.8.2).
//
// Owned by its function, which places it in a BAR: the table at offset 0, the pending bits at
// pba_offset(). A vector's MsiVector is made when the guest first unmasks it, and its message is set only
// when it changed, so that masking and unmasking cost the host nothing. One lock of rank kInterrupt guards
// all; every member is thread-safe, and only the host's SetMessage may take time.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "devices/bus.h"
#include "devices/msi.h"
#include "guestmem/mutex.h"

namespace faultline {

class Msix final : public BusDevice {
 public:
  static constexpr unsigned kEntrySize = 16;
  static constexpr unsigned kMaxVectors = 64;

  // `host` outlives this. At most kMaxVectors.
  Msix(MsiHost& host, unsigned vectors);

  unsigned vectors() const { return vector_count_; }
  static constexpr Bytes pba_offset() { return Bytes(0x800); }
  static constexpr Bytes size() { return Bytes(0x1000); }

  // The message control register changed (§6.8.2.3): MSI-X Enable and Function Mask.
  void SetControl(bool enabled, bool masked);
  bool enabled() const;
  // Sends vector `vector`, or marks it pending while it is masked. Dropped while MSI-X is disabled and for
  // a vector that does not exist.
  void Notify(unsigned vector);
  // Power-on: disabled, every vector masked, nothing pending.
  void Reset();

  // The table and the pending bits; the latter are read-only. Any width at any offset.
  void Read(Bytes offset, std::span<std::byte> out) override;
  void Write(Bytes offset, std::span<const std::byte> data) override;

 private:
  struct Entry {
    MsiMessage message;
    bool masked = true;
    bool pending = false;
    std::unique_ptr<MsiVector> vector;    // null until first needed, or when the host has none left
    std::optional<MsiMessage> installed;  // what `vector` has been told
  };
  static uint64_t FieldOf(const Entry& entry, unsigned index);
  void WriteFieldByteLocked(uint64_t offset, uint8_t value) REQUIRES(mutex_);
  uint8_t ReadByteLocked(uint64_t offset) const REQUIRES(mutex_);
  bool MaskedLocked(const Entry& entry) const REQUIRES(mutex_) { return !enabled_ || function_mask_ || entry.masked; }
  // Brings the host up to date after a change of `entry` and sends what was pending.
  void SettleLocked(Entry& entry) REQUIRES(mutex_);
  void SendLocked(Entry& entry) REQUIRES(mutex_);

  MsiHost& host_;
  const unsigned vector_count_;
  mutable RankedMutex<LockRank::kInterrupt> mutex_;
  std::vector<Entry> entries_ GUARDED_BY(mutex_);
  bool enabled_ GUARDED_BY(mutex_) = false;
  bool function_mask_ GUARDED_BY(mutex_) = false;
};

}  // namespace faultline
