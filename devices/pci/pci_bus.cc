#include "devices/pci/pci_bus.h"

#include <algorithm>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "guestmem/error.h"

namespace faultline {
namespace {

// Red Hat's generic PCI Express host bridge, as QEMU has it: guests know it and have no quirks for it.
constexpr PciIdentity kHostBridge{.vendor = 0x1b36, .device = 0x0008, .class_code = 0x060000};

constexpr uint32_t kConfigEnable = 1U << 31;
constexpr uint64_t kResetControl = 1;   // port 0xcf9
constexpr uint8_t kResetProcessor = 4;  // a reset when it comes on
constexpr uint64_t kBusShift = 20;
constexpr uint64_t kFunctionShift = 12;
constexpr uint64_t kFunctionSpace = 1 << kFunctionShift;
// Of the window of memory behind a bridge.
constexpr Bytes kBridgeGranule = 1_MiB;

}  // namespace

PciBus::PciBus(Bus& mmio, GpaRange window, const std::array<IrqLine*, IntxRouter::kLines>& lines,
               std::function<void()> on_reset)
    : mmio_(mmio), window_(window), on_reset_(std::move(on_reset)), intx_(lines) {
  Add(std::make_unique<PciFunction>(kHostBridge));
}

PciBus::~PciBus() {
  // The bus's references to them end here, not with the bus.
  for (const auto& function : All()) function->Disconnect();
}

std::vector<std::shared_ptr<PciFunction>> PciBus::All() const {
  std::vector<std::shared_ptr<PciFunction>> all;
  const std::shared_lock lock(mutex_);
  for (const auto& function : functions_) {
    if (function != nullptr) all.push_back(function);
  }
  for (const Behind& behind : behind_) {
    if (behind.function != nullptr) all.push_back(behind.function);
  }
  return all;
}

PciFunction* PciBus::function(unsigned slot) const {
  if (slot >= kSlots) return nullptr;
  const std::shared_lock lock(mutex_);
  return functions_[Index({.slot = slot})].get();
}

std::shared_ptr<PciFunction> PciBus::At(PciPlace place) const {
  const std::shared_lock lock(mutex_);
  if (place.bus == 0) {
    return place.slot < kSlots && place.function < IntxRouter::kFunctions ? functions_[Index(place)] : nullptr;
  }
  const bool exists = place.bus <= behind_.size() && place.slot == 0 && place.function == 0;
  return exists ? behind_[place.bus - 1].function : nullptr;
}

bool PciBus::Occupied(PciPlace place) const { return At(place) != nullptr; }

PciPlace PciBus::FirstFreeSlot() const {
  for (unsigned slot = 0; slot < kSlots; ++slot) {
    if (function(slot) == nullptr) return {.slot = slot};
  }
  throw UsageError("all 31 PCI slots are taken: give the VM fewer devices");
}

GpaRange PciBus::TakeWindow(Bytes size, Bytes alignment) {
  Gpa at = window_.start;
  const auto aligned = [&](Gpa gpa) { return Gpa(AlignUp(Bytes(gpa.value), alignment).value); };
  auto before = taken_.begin();
  for (at = aligned(at); before != taken_.end() && before->start < at + size; ++before) {
    if (before->end() > at) at = aligned(before->end());
  }
  const GpaRange range{at, size};
  if (!window_.Contains(range)) throw UsageError("the PCI memory window is full: give the VM fewer devices");
  taken_.insert(before, range);
  return range;
}

unsigned PciBus::Add(std::unique_ptr<PciFunction> function, std::optional<PciPlace> wanted) {
  const PciPlace place = wanted ? *wanted : FirstFreeSlot();
  if (place.bus == 0) {
    AddToRoot(std::move(function), place, &intx_);
  } else {
    AddBehind(std::move(function), place);
  }
  return place.slot;
}

void PciBus::AddRootPort(PciPlace place) {
  const auto bus = static_cast<unsigned>(behind_.size() + 1);
  if (bus == kBuses) throw UsageError("there are too many PCI root ports: give the VM 31 at most");
  auto port = std::make_shared<RootPort>(bus);
  // Its interrupt pin is for what lies behind it.
  AddToRoot(port, place, nullptr);
  const GpaRange window = TakeWindow(kBridgeGranule, kBridgeGranule);
  port->SetWindow(window);
  behind_.push_back({port.get(), Index(place), window, nullptr});
}

void PciBus::AddToRoot(std::shared_ptr<PciFunction> function, PciPlace place, IntxRouter* intx) {
  if (place.slot >= kSlots || place.function >= IntxRouter::kFunctions) {
    throw UsageError("PCI slot " + std::to_string(place.slot) + " function " + std::to_string(place.function) +
                     " does not exist: choose slot 1 to " + std::to_string(kSlots - 1) + " and function 0 to 7");
  }
  const unsigned index = Index(place);
  if (functions_[index] != nullptr) {
    throw UsageError("PCI slot " + std::to_string(place.slot) + " function " + std::to_string(place.function) +
                     " is taken: choose another or none");
  }
  PciFunction* const first = functions_[Index({.slot = place.slot})].get();
  if (place.function != 0 && first == nullptr) {
    throw UsageError("PCI slot " + std::to_string(place.slot) +
                     " has no function 0, without which nobody finds the others: add one, and before them");
  }
  uint64_t address = 0;
  if (const Bytes size = function->bar_size(); size != Bytes(0)) {
    const GpaRange window = TakeWindow(size, size);
    windows_[index] = window;
    address = window.start.value;
  }
  function->Connect(mmio_, address, intx, index);
  if (place.function != 0) first->SetMultifunction();
  const std::unique_lock lock(mutex_);
  functions_[index] = std::move(function);
}

void PciBus::AddBehind(std::shared_ptr<PciFunction> function, PciPlace place) {
  if (place.bus > behind_.size() || place.slot != 0 || place.function != 0) {
    throw UsageError("there is no slot " + std::to_string(place.slot) + " on PCI bus " + std::to_string(place.bus) +
                     ": each root port has slot 0");
  }
  Behind& behind = behind_[place.bus - 1];
  if (behind.function != nullptr) {
    throw UsageError("PCI bus " + std::to_string(place.bus) + " has a device already: choose another");
  }
  if (const Bytes size = function->bar_size(); size > behind.window.size) {
    behind.window = TakeWindow(size, size);
    behind.port->SetWindow(behind.window);
  }
  function->Connect(mmio_, behind.window.start.value, &intx_, behind.interrupt_source);
  const std::unique_lock lock(mutex_);
  behind.function = std::move(function);
}

std::shared_ptr<PciFunction> PciBus::Take(PciPlace place) {
  const std::unique_lock lock(mutex_);
  if (place.bus != 0) return std::move(behind_[place.bus - 1].function);
  return std::move(functions_[Index(place)]);
}

void PciBus::Remove(PciPlace place) {
  const std::string where = "PCI bus " + std::to_string(place.bus) + " slot " + std::to_string(place.slot) +
                            " function " + std::to_string(place.function);
  if (!Occupied(place)) throw UsageError("there is nothing at " + where);
  if (place.bus == 0) {
    const bool bridge =
        place.slot == 0 || std::ranges::find(behind_, Index(place), &Behind::interrupt_source) != behind_.end();
    bool needed = bridge;
    for (unsigned other = 1; place.function == 0 && other < IntxRouter::kFunctions; ++other) {
      needed = needed || Occupied({.slot = place.slot, .function = other});
    }
    if (needed) {
      throw UsageError("what sits at " + where +
                       " has to stay: " + (bridge ? "it is a bridge" : "the slot's other functions are found by it"));
    }
  }
  std::shared_ptr<PciFunction> function = Take(place);
  function->Disconnect();
  while (function.use_count() > 1) std::this_thread::yield();
  function.reset();
  if (const auto window = windows_.find(Index(place)); place.bus == 0 && window != windows_.end()) {
    std::erase(taken_, window->second);
    windows_.erase(window);
  }
}

void PciBus::Reset() {
  config_ports_.address_.store(0, std::memory_order_relaxed);
  config_ports_.reset_control_.store(0, std::memory_order_relaxed);
  for (const auto& function : All()) function->Reset();
}

std::shared_ptr<PciFunction> PciBus::FunctionAt(uint64_t address) const {
  const uint64_t bus = address >> kBusShift;
  const uint64_t index = address >> kFunctionShift & (IntxRouter::kSources - 1);
  const std::shared_lock lock(mutex_);
  if (bus == 0) return functions_[index];
  for (const Behind& behind : behind_) {
    if (behind.port->bus() == bus) return index == 0 ? behind.function : nullptr;
  }
  return nullptr;
}

void PciBus::ReadConfig(uint64_t address, std::span<std::byte> out) {
  if (const auto function = FunctionAt(address)) {
    function->ReadConfig(static_cast<unsigned>(address % kFunctionSpace), out);
  } else {
    std::ranges::fill(out, std::byte{0xff});
  }
}

void PciBus::WriteConfig(uint64_t address, std::span<const std::byte> data) {
  if (const auto function = FunctionAt(address)) {
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
