#include "devices/pci/pci_bus.h"

#include <algorithm>
#include <string>
#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

// Red Hat's generic PCI Express host bridge, as QEMU has it: guests know it and have no quirks for it.
constexpr PciIdentity kHostBridge{.vendor = 0x1b36, .device = 0x0008, .class_code = 0x060000};

constexpr uint32_t kConfigEnable = 1U << 31;
constexpr uint64_t kResetControl = 1;   // port 0xcf9
constexpr uint8_t kResetProcessor = 4;  // a reset when it comes on
constexpr uint64_t kSlotShift = 15;
constexpr uint64_t kFunctionSpace = 4096;

}  // namespace

PciBus::PciBus(Bus& mmio, GpaRange window, const std::array<IrqLine*, IntxRouter::kLines>& lines,
               std::function<void()> on_reset)
    : mmio_(mmio), window_(window), on_reset_(std::move(on_reset)), next_bar_(window.start.value), intx_(lines) {
  Add(std::make_unique<PciFunction>(kHostBridge));
}

PciBus::~PciBus() = default;

unsigned PciBus::ChooseSlot(std::optional<unsigned> wanted) const {
  if (wanted) {
    if (*wanted >= kSlots) {
      throw UsageError("PCI slot " + std::to_string(*wanted) + " does not exist: choose 1 to " +
                       std::to_string(kSlots - 1));
    }
    if (functions_[*wanted] != nullptr) {
      throw UsageError("PCI slot " + std::to_string(*wanted) + " is taken: choose another or none");
    }
    return *wanted;
  }
  const auto free = std::ranges::find_if(functions_, [](const auto& slot) { return slot == nullptr; });
  if (free == functions_.end()) throw UsageError("all 31 PCI slots are taken: give the VM fewer devices");
  return static_cast<unsigned>(free - functions_.begin());
}

unsigned PciBus::Add(std::unique_ptr<PciFunction> function, std::optional<unsigned> wanted) {
  const unsigned slot = ChooseSlot(wanted);
  uint64_t address = 0;
  if (const Bytes size = function->bar_size(); size != Bytes(0)) {
    address = AlignUp(Bytes(next_bar_), size).value;
    if (!window_.Contains(GpaRange{Gpa(address), size})) {
      throw UsageError("the PCI memory window is full: give the VM fewer devices");
    }
    next_bar_ = address + size.value;
  }
  function->Connect(mmio_, address, intx_, slot);
  functions_[slot] = std::move(function);
  return slot;
}

void PciBus::Reset() {
  config_ports_.address_.store(0, std::memory_order_relaxed);
  config_ports_.reset_control_.store(0, std::memory_order_relaxed);
  for (const auto& function : functions_) {
    if (function != nullptr) function->Reset();
  }
}

PciFunction* PciBus::FunctionAt(uint64_t address) const {
  // Bus 0 and function 0 alone exist.
  const uint64_t slot = address >> kSlotShift;
  const bool exists = slot < kSlots && address % (1 << kSlotShift) < kFunctionSpace;
  return exists ? functions_[slot].get() : nullptr;
}

void PciBus::ReadConfig(uint64_t address, std::span<std::byte> out) {
  if (PciFunction* function = FunctionAt(address)) {
    function->ReadConfig(static_cast<unsigned>(address % kFunctionSpace), out);
  } else {
    std::ranges::fill(out, std::byte{0xff});
  }
}

void PciBus::WriteConfig(uint64_t address, std::span<const std::byte> data) {
  if (PciFunction* function = FunctionAt(address)) {
    function->WriteConfig(static_cast<unsigned>(address % kFunctionSpace), data);
  }
}

namespace {

// The ECAM address a value of port 0xcf8 selects: bus, slot and function move up, the register stays.
uint64_t SelectedAddress(uint32_t address) { return uint64_t{address & 0x00ffff00} << 4 | (address & 0xfc); }

}  // namespace

void PciBus::ConfigPorts::Read(Bytes offset, std::span<std::byte> out) {
  const uint32_t address = address_.load(std::memory_order_relaxed);
  if (offset.value == 0 && out.size() == 4) {
    StoreLittleEndian(address, out);
  } else if (offset.value == kResetControl && out.size() == 1) {
    StoreLittleEndian(reset_control_.load(std::memory_order_relaxed), out);
  } else if (offset.value >= 4 && (address & kConfigEnable) != 0) {
    bus_.ReadConfig(SelectedAddress(address) + (offset.value - 4), out);
  } else {
    std::ranges::fill(out, std::byte{0xff});
  }
}

void PciBus::ConfigPorts::Write(Bytes offset, std::span<const std::byte> data) {
  const uint32_t address = address_.load(std::memory_order_relaxed);
  if (offset.value == 0 && data.size() == 4) {
    address_.store(static_cast<uint32_t>(LoadLittleEndian(data)) & ~0x7f000003U, std::memory_order_relaxed);
  } else if (offset.value == kResetControl && data.size() == 1) {
    const auto value = std::to_integer<uint8_t>(data[0]);
    const uint8_t before = reset_control_.exchange(value, std::memory_order_relaxed);
    if ((value & ~before & kResetProcessor) != 0 && bus_.on_reset_) bus_.on_reset_();
  } else if (offset.value >= 4 && (address & kConfigEnable) != 0) {
    bus_.WriteConfig(SelectedAddress(address) + (offset.value - 4), data);
  }
}

void PciBus::Ecam::Read(Bytes offset, std::span<std::byte> out) { bus_.ReadConfig(offset.value, out); }
void PciBus::Ecam::Write(Bytes offset, std::span<const std::byte> data) { bus_.WriteConfig(offset.value, data); }

}  // namespace faultline
