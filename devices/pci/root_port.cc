#include "devices/pci/root_port.h"

#include <array>

namespace faultline {
namespace {

// Red Hat's generic root port, as QEMU has it.
constexpr PciIdentity kRootPort{.vendor = 0x1b36, .device = 0x000c, .class_code = 0x060400};

// Of a type 1 header.
constexpr uint8_t kBridgeHeader = 1;
constexpr unsigned kPrimaryBus = 0x18;
constexpr unsigned kSecondaryBus = 0x19;
constexpr unsigned kSubordinateBus = 0x1a;
constexpr unsigned kMemoryBase = 0x20;
constexpr unsigned kMemoryLimit = 0x22;
constexpr unsigned kBridgeControl = 0x3e;
constexpr uint64_t kWindowBits = 0xfff0;  // address bits 31 to 20
constexpr uint64_t kErrorForwarding = 0x3;

// The PCI Express capability, version 2, behind its two-byte header (§7.8).
constexpr uint8_t kCapabilityExpress = 0x10;
constexpr size_t kExpressSize = 58;
constexpr uint16_t kVersion2RootPort = 4U << 4 | 2;
constexpr uint32_t kRoleBasedErrors = 1U << 15;
constexpr uint32_t kLinkX1 = 1U << 4 | 1;  // one lane at 2.5 GT/s

uint64_t WindowBits(uint64_t address) { return address >> 16 & kWindowBits; }

}  // namespace

RootPort::RootPort(unsigned bus) : PciFunction(kRootPort), first_bus_(bus), bus_(bus) {
  ConfigSpace& config = initial_config();
  config.Set(pci::kHeaderType, 1, kBridgeHeader);
  config.Set(kPrimaryBus, 1, 0, 0xff);
  config.Set(kSecondaryBus, 1, bus, 0xff);
  config.Set(kSubordinateBus, 1, bus, 0xff);
  // A base above the limit: nothing lies behind it.
  config.Set(kMemoryBase, 2, kWindowBits, kWindowBits);
  config.Set(kMemoryLimit, 2, 0, kWindowBits);
  config.Set(kBridgeControl, 2, 0, kErrorForwarding);
  std::array<std::byte, kExpressSize> express = {};
  StoreLittleEndian(kVersion2RootPort, std::span(express).first(2));
  StoreLittleEndian(kRoleBasedErrors, std::span(express).subspan(2, 4));
  StoreLittleEndian(uint64_t{bus} << 24 | kLinkX1, std::span(express).subspan(10, 4));
  StoreLittleEndian(kLinkX1, std::span(express).subspan(16, 2));
  config.AddCapability(kCapabilityExpress, express);
}

void RootPort::SetWindow(GpaRange window) {
  Preset(kMemoryBase, 2, WindowBits(window.start.value));
  Preset(kMemoryLimit, 2, WindowBits(window.end().value - 1));
}

void RootPort::AfterConfigWrite(ConfigSpace& config, unsigned offset, size_t size) {
  if (!Touches(offset, size, kSecondaryBus, 1)) return;
  bus_.store(static_cast<unsigned>(config.Get(kSecondaryBus, 1)), std::memory_order_relaxed);
}

}  // namespace faultline
