// PCI: a root bus of thirty-two slots, and a bus for one device behind each root port on it, reached through ports
// 0xcf8/0xcfc and through ECAM (PCI Local Bus 3.0 §3.2.2.3.2, PCI Express 3.0 §7.2.2). Slot 0 holds the host bridge.
//
// How a machine uses it:
//   PciBus pci(mmio, window, {irq_a, irq_b, irq_c, irq_d});
//   ports.Attach(PciBus::kConfigPort, PciBus::kConfigPortCount, pci.config_ports());
//   mmio.Attach(ecam_address, PciBus::kEcamSize, pci.ecam());       // announced by the ACPI MCFG
//   pci.Add(MakeVirtioBlock(...));                                   // devices/virtio/devices.h
// and in the DSDT: _CRS with `window`, _PRT with IntxRouter::LineFor(slot) for pin INTA# of each slot.
// BARs are placed in the window as firmware would; guests may move them anywhere.
//
// Owned by the machine; must be gone before the buses. AddRootPort is for set-up, before any vCPU runs. Add and Remove
// are called by one thread at a time, also while vCPUs run; all else is thread-safe.
//
// How a function goes while other threads access it: Remove takes it out of the table, which accesses to configuration
// space go by, and off the bus, which accesses to the BAR go by. Both hand out references under a lock that Remove has
// held since, so nobody gets another one; it cannot come back onto the bus, for it has forgotten it. Remove then waits
// until its reference is the only one. Giving one up is a release, and the last one's end an acquire, so what the
// others did comes before the destructor.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <vector>

#include "devices/bus.h"
#include "devices/pci/intx_router.h"
#include "devices/pci/pci_function.h"
#include "devices/pci/pci_place.h"
#include "devices/pci/root_port.h"

namespace faultline {

class PciBus {
 public:
  static constexpr unsigned kSlots = IntxRouter::kSlots;
  static constexpr uint64_t kConfigPort = 0xcf8;
  static constexpr Bytes kConfigPortCount{8};
  static constexpr unsigned kBuses = 32;  // the root, and one behind each port
  static constexpr Bytes kEcamSize{kBuses << 20};

  // `window`: where BARs are placed, below 4 GiB for 32-bit guests. Lines: see IntxRouter. `on_reset`: the guest asked
  // for a reset of the machine by port 0xcf9; runs on the vCPU's thread that wrote.
  PciBus(Bus& mmio, GpaRange window, const std::array<IrqLine*, IntxRouter::kLines>& lines,
         std::function<void()> on_reset = {});
  ~PciBus();

  // Puts the function into `place`, or into the first free slot of the root bus, and returns its slot. Throws
  // UsageError when there is none or it is taken, when the slot's function 0 is not there yet, or its BAR does not fit
  // into the window any more.
  unsigned Add(std::unique_ptr<PciFunction> function, std::optional<PciPlace> place = std::nullopt);
  // Takes away what sits there and destroys it, with all it holds of the host; returns when that is done. The guest
  // reads all-ones there and writes to nothing. Waits for accesses under way, so it is never called from one to the
  // function itself, and for the function's own thread. UsageError when nothing is there or it cannot be spared: the
  // host bridge, a root port, function 0 of a slot that has others.
  void Remove(PciPlace place);
  bool Occupied(PciPlace place) const;
  // Puts a root port there, with a MiB of the window for what may come behind it; buses are numbered from 1 in the
  // order of their ports. Throws as Add.
  void AddRootPort(PciPlace place);

  BusDevice& config_ports() { return config_ports_; }
  BusDevice& ecam() { return ecam_; }

  // All functions back to power-on, as a machine reset does. Waits for I/O under way.
  void Reset();

  // Function 0 of a slot of the root bus, or null. Good until it is removed.
  PciFunction* function(unsigned slot) const;

 private:
  // Ports 0xcf8 (address, 32-bit accesses only) and 0xcfc (data); and among them 0xcf9, the reset control register that
  // Intel's chipsets have there, for single bytes.
  class ConfigPorts final : public BusDevice {
   public:
    explicit ConfigPorts(PciBus& bus) : bus_(bus) {}
    void Read(Bytes offset, std::span<std::byte> out) override;
    void Write(Bytes offset, std::span<const std::byte> data) override;

   private:
    friend class PciBus;
    PciBus& bus_;
    std::atomic<uint32_t> address_{0};
    std::atomic<uint8_t> reset_control_{0};
  };
  class Ecam final : public BusDevice {
   public:
    explicit Ecam(PciBus& bus) : bus_(bus) {}
    void Read(Bytes offset, std::span<std::byte> out) override;
    void Write(Bytes offset, std::span<const std::byte> data) override;

   private:
    PciBus& bus_;
  };
  // What lies behind a port.
  struct Behind {
    RootPort* port;
    unsigned interrupt_source;
    GpaRange window;
    std::shared_ptr<PciFunction> function;
  };

  // Of a place on the root bus.
  static constexpr unsigned Index(PciPlace place) { return place.slot * IntxRouter::kFunctions + place.function; }
  PciPlace FirstFreeSlot() const;
  // The first free part of the window of that size, in multiples of `alignment`.
  GpaRange TakeWindow(Bytes size, Bytes alignment);
  void AddToRoot(std::shared_ptr<PciFunction> function, PciPlace place, IntxRouter* intx);
  void AddBehind(std::shared_ptr<PciFunction> function, PciPlace place);
  // The one at `place`, taken out of the table.
  std::shared_ptr<PciFunction> Take(PciPlace place);
  std::shared_ptr<PciFunction> At(PciPlace place) const;
  std::vector<std::shared_ptr<PciFunction>> All() const;
  // `address` as in ECAM: bus, slot, function and register in one number.
  void ReadConfig(uint64_t address, std::span<std::byte> out);
  void WriteConfig(uint64_t address, std::span<const std::byte> data);
  std::shared_ptr<PciFunction> FunctionAt(uint64_t address) const;

  Bus& mmio_;
  const GpaRange window_;
  const std::function<void()> on_reset_;
  IntxRouter intx_;
  std::vector<GpaRange> taken_;           // of the window, sorted; for Add and Remove
  std::map<unsigned, GpaRange> windows_;  // those of functions on the root bus, by Index; likewise
  mutable std::shared_mutex mutex_;       // guards the references in the two below; held to copy one
  std::array<std::shared_ptr<PciFunction>, IntxRouter::kSources> functions_;  // by Index
  std::vector<Behind> behind_;                                                // of bus 1 and on
  ConfigPorts config_ports_{*this};
  Ecam ecam_{*this};
};

}  // namespace faultline
