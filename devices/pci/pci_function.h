// One PCI function with at most one memory BAR and MSI-X: what every device behind the PciBus derives from.
//
// Shared by the PciBus and whoever is in the middle of an access. A destructor of a derived class begins with
// Disconnect. A lock of rank kMachine guards configuration space and the BAR's mapping, and is held during the hooks
// below, so a derived device may take its kDevice lock in them and never calls back into configuration space from under
// that lock. ReadConfig, WriteConfig, Reset and SetIntx are thread-safe; the rest belongs to construction and to the
// PciBus.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "devices/bus.h"
#include "devices/pci/config_space.h"
#include "devices/pci/intx_router.h"
#include "devices/pci/msix.h"
#include "guestmem/mutex.h"

namespace faultline {

struct PciIdentity {
  uint16_t vendor = 0;
  uint16_t device = 0;
  uint32_t class_code = 0;  // 24 bits: class, subclass, programming interface
  uint8_t revision = 0;
  uint16_t subsystem_vendor = 0;
  uint16_t subsystem = 0;
};

class PciFunction : public std::enable_shared_from_this<PciFunction> {
 public:
  explicit PciFunction(const PciIdentity& identity);
  virtual ~PciFunction();
  PciFunction(const PciFunction&) = delete;
  PciFunction& operator=(const PciFunction&) = delete;

  // A guest's access to configuration space; any width, any offset below 4096.
  void ReadConfig(unsigned offset, std::span<std::byte> out) EXCLUDES(config_mutex_);
  void WriteConfig(unsigned offset, std::span<const std::byte> data) EXCLUDES(config_mutex_);

  // Back to power-on: BAR unmapped and at the address it was placed at, interrupts off.
  void Reset() EXCLUDES(config_mutex_);

  // Size of the BAR, a power of two; zero without one.
  Bytes bar_size() const { return bar_size_; }

  // For the PciBus: places the BAR and wires the function up. `mmio` and `intx` outlive this function; `source` is the
  // function's among those of `intx`, which is null for a function without interrupts.
  void Connect(Bus& mmio, uint64_t bar_address, IntxRouter* intx, unsigned source) EXCLUDES(config_mutex_);
  // For the PciBus: from now on the guest cannot reach the BAR, nor make it reachable again.
  void Disconnect() EXCLUDES(config_mutex_);
  // For the PciBus: the slot has more functions than this one, which is number 0.
  void SetMultifunction() EXCLUDES(config_mutex_);

 protected:
  // For constructors of derived classes.
  ConfigSpace& initial_config() { return config_; }
  // BAR 0 (with BAR 1 its upper half): 64-bit, not prefetchable, `size` a power of two from 4 KiB up.
  void AddBar(Bytes size, BusDevice& device);
  // The capability that says the MSI-X table lies at `offset` of the BAR; the derived class maps it there.
  void AddMsix(Msix& msix, uint32_t offset);

  // While the machine is set up: the value of a register from power-on.
  void Preset(unsigned offset, unsigned width, uint64_t value) EXCLUDES(config_mutex_);

  // Drives INTA#. Callers may hold locks up to kInterrupt.
  void SetIntx(bool asserted);

  // The BAR is mapped at `address`, or at none. Called with the configuration lock held.
  virtual void OnBarMapped(std::optional<uint64_t> /*address*/) {}
  // Power-on reset of the device behind. Called with the configuration lock held.
  virtual void OnReset() {}
  // Configuration registers a derived class answers for: bytes that are not plain storage. Called with the
  // configuration lock held, before a read and after a write of [offset, offset + size).
  virtual void BeforeConfigRead(ConfigSpace& /*config*/, unsigned /*offset*/, size_t /*size*/) {}
  virtual void AfterConfigWrite(ConfigSpace& /*config*/, unsigned /*offset*/, size_t /*size*/) {}

 private:
  void MapBarLocked(std::optional<uint64_t> wanted) REQUIRES(config_mutex_);
  void ApplyCommandLocked() REQUIRES(config_mutex_);
  void ApplyMsixControlLocked() REQUIRES(config_mutex_);
  uint64_t BarAddressLocked() const REQUIRES(config_mutex_);

  Bytes bar_size_;
  BusDevice* bar_ = nullptr;
  Msix* msix_ = nullptr;
  unsigned msix_capability_ = 0;
  Bus* mmio_ = nullptr;
  IntxRouter* intx_ = nullptr;
  unsigned source_ = 0;

  RankedMutex<LockRank::kMachine> config_mutex_;
  ConfigSpace config_;  // unguarded only in constructors
  ConfigSpace power_on_;
  std::optional<uint64_t> mapped_at_ GUARDED_BY(config_mutex_);
};

}  // namespace faultline
