#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "devices/pci/pci_bus.h"
#include "guestmem/error.h"
#include "tests/devices/pci/fake_interrupts.h"
#include "tests/devices/register_access.h"

namespace faultline {
namespace {

constexpr GpaRange kWindow{Gpa(0xe000'0000), Bytes(0x10'0000)};

// Answers with its own letter.
class Registers final : public BusDevice {
 public:
  void Read(Bytes /*offset*/, std::span<std::byte> out) override { StoreLittleEndian(0x5a, out); }
  void Write(Bytes offset, std::span<const std::byte> data) override {
    last_offset = offset.value;
    last_value = LoadLittleEndian(data);
  }
  uint64_t last_offset = 0;
  uint64_t last_value = 0;
};

class TestFunction final : public PciFunction {
 public:
  explicit TestFunction(MsiHost& msi, Bytes size = 16_KiB)
      : PciFunction({.vendor = 0x1af4, .device = 0x1042, .class_code = 0x018000, .revision = 1}), msix(msi, 3) {
    AddBar(size, registers);
    AddMsix(msix, 0x2000);
  }
  ~TestFunction() override { Disconnect(); }
  using PciFunction::SetIntx;
  void OnBarMapped(std::optional<uint64_t> address) override { mapped = address; }
  void OnReset() override { ++resets; }

  Registers registers;
  Msix msix;
  std::optional<uint64_t> mapped;
  int resets = 0;
};

class PciTest : public testing::Test {
 protected:
  PciTest() : bus(mmio, kWindow, {&lines[0], &lines[1], &lines[2], &lines[3]}, [this] { ++machine_resets; }) {
    ports.Attach(PciBus::kConfigPort, PciBus::kConfigPortCount, bus.config_ports());
    auto made = std::make_unique<TestFunction>(msi);
    function = made.get();
    slot = bus.Add(std::move(made));
  }
  uint64_t ConfigRead(unsigned of_slot, unsigned reg, size_t width) {
    WriteRegister(bus.config_ports(), 0, 4, 0x80000000U | of_slot << 11 | (reg & 0xfc));
    return ReadRegister(bus.config_ports(), 4 + reg % 4, width);
  }
  void ConfigWrite(unsigned of_slot, unsigned reg, size_t width, uint64_t value) {
    WriteRegister(bus.config_ports(), 0, 4, 0x80000000U | of_slot << 11 | (reg & 0xfc));
    WriteRegister(bus.config_ports(), 4 + reg % 4, width, value);
  }
  // Bus reads as a vCPU's exit does them.
  std::optional<uint64_t> MmioRead(uint64_t address) {
    std::array<std::byte, 4> bytes = {};
    if (!mmio.Read(address, bytes)) return std::nullopt;
    return LoadLittleEndian(bytes);
  }
  unsigned FindCapability(uint8_t id) {
    auto at = static_cast<unsigned>(ConfigRead(slot, pci::kCapabilities, 1));
    while (at != 0 && ConfigRead(slot, at, 1) != id) at = static_cast<unsigned>(ConfigRead(slot, at + 1, 1));
    return at;
  }

  int machine_resets = 0;
  Bus ports;
  Bus mmio;
  FakeLine lines[4];
  FakeMsiHost msi;
  PciBus bus;
  TestFunction* function = nullptr;
  unsigned slot = 0;
};

TEST_F(PciTest, TheResetControlRegisterResetsTheMachineOnceForEachRise) {
  const auto write = [&](size_t width, uint64_t value) { WriteRegister(bus.config_ports(), 1, width, value); };
  write(1, 2);
  EXPECT_EQ(machine_resets, 0) << "how to reset, without a reset";
  write(1, 6);
  EXPECT_EQ(machine_resets, 1);
  EXPECT_EQ(ReadRegister(bus.config_ports(), 1, 1), 6U);
  write(1, 6);
  write(2, 0x0606);
  WriteRegister(bus.config_ports(), 0, 4, 0x80000600U);
  EXPECT_EQ(machine_resets, 1);
  write(1, 2);
  write(1, 0xe);
  EXPECT_EQ(machine_resets, 2);
}

TEST_F(PciTest, PortsAndEcamShowTheSameFunctions) {
  EXPECT_EQ(ConfigRead(0, pci::kVendorId, 4), 0x00081b36U) << "the host bridge";
  EXPECT_EQ(ConfigRead(0, pci::kClass, 2) >> 0, 0x0000U);
  EXPECT_EQ(ConfigRead(0, 0x0a, 2), 0x0600U);
  EXPECT_EQ(slot, 1U);
  EXPECT_EQ(ConfigRead(slot, pci::kVendorId, 4), 0x10421af4U);
  EXPECT_EQ(ReadRegister(bus.ecam(), slot << 15, 4), 0x10421af4U);
  EXPECT_EQ(ReadRegister(bus.ecam(), (slot << 15) + 2, 2), 0x1042U);
}

TEST_F(PciTest, WhatIsNotThereReadsAsOnes) {
  EXPECT_EQ(ConfigRead(2, pci::kVendorId, 4), 0xffffffffU) << "an empty slot";
  WriteRegister(bus.config_ports(), 0, 4, 0x80000000U | slot << 11 | 1 << 8);
  EXPECT_EQ(ReadRegister(bus.config_ports(), 4, 4), 0xffffffffU) << "function 1";
  WriteRegister(bus.config_ports(), 0, 4, 0x80010000U | slot << 11);
  EXPECT_EQ(ReadRegister(bus.config_ports(), 4, 4), 0xffffffffU) << "bus 1";
  EXPECT_EQ(ReadRegister(bus.ecam(), (slot << 15) + 4096, 4), 0xffffffffU) << "function 1";
  EXPECT_EQ(ReadRegister(bus.ecam(), (slot << 15) + 0x100, 4), 0U) << "no extended capabilities";
}

TEST_F(PciTest, TheAddressPortTakesOnlyDwordsAndKeepsItsEnableBit) {
  WriteRegister(bus.config_ports(), 0, 4, 0x80000000U);
  EXPECT_EQ(ReadRegister(bus.config_ports(), 0, 4), 0x80000000U) << "how a guest finds mechanism 1";
  WriteRegister(bus.config_ports(), 3, 1, 0x01);
  EXPECT_EQ(ReadRegister(bus.config_ports(), 0, 4), 0x80000000U);
  WriteRegister(bus.config_ports(), 0, 4, slot << 11);
  EXPECT_EQ(ReadRegister(bus.config_ports(), 4, 4), 0xffffffffU) << "not enabled";
}

TEST_F(PciTest, ABarTellsItsSizeAndIsPlacedInTheWindow) {
  EXPECT_EQ(ConfigRead(slot, pci::kBar0, 4), 0xe0000004U);
  ConfigWrite(slot, pci::kBar0, 4, 0xffffffff);
  ConfigWrite(slot, pci::kBar0 + 4, 4, 0xffffffff);
  EXPECT_EQ(ConfigRead(slot, pci::kBar0, 4), 0xffffc004U) << "16 KiB, 64-bit";
  EXPECT_EQ(ConfigRead(slot, pci::kBar0 + 4, 4), 0xffffffffU);
  EXPECT_EQ(ConfigRead(slot, pci::kBar0 + 8, 4), 0U) << "no further BAR";
}

TEST_F(PciTest, ABarIsReachedOnceDecodingIsOnAndFollowsItsAddress) {
  EXPECT_EQ(MmioRead(0xe0000000), std::nullopt);
  ConfigWrite(slot, pci::kCommand, 2, pci::kCommandMemory);
  EXPECT_EQ(MmioRead(0xe0000000), 0x5aU);
  EXPECT_EQ(function->mapped, 0xe0000000U);
  ConfigWrite(slot, pci::kBar0, 4, 0xe0080000);
  EXPECT_EQ(MmioRead(0xe0000000), std::nullopt);
  EXPECT_EQ(MmioRead(0xe0083ffc), 0x5aU);
  ConfigWrite(slot, pci::kBar0 + 4, 4, 0x12);
  EXPECT_EQ(function->mapped, 0x12'e008'0000U) << "beyond 4 GiB";
  ConfigWrite(slot, pci::kCommand, 2, 0);
  EXPECT_EQ(function->mapped, std::nullopt);
  EXPECT_EQ(MmioRead(0x12'e008'0000), std::nullopt);
}

TEST_F(PciTest, ABarMovedOntoAnotherDeviceIsUnreachableUntilItMovesOn) {
  Registers other;
  mmio.Attach(0xd0000000, Bytes(16), other);
  ConfigWrite(slot, pci::kCommand, 2, pci::kCommandMemory);
  ConfigWrite(slot, pci::kBar0, 4, 0xd0000000);
  EXPECT_EQ(function->mapped, std::nullopt);
  EXPECT_EQ(MmioRead(0xe0000000), std::nullopt);
  ConfigWrite(slot, pci::kBar0, 4, 0xd0004000);
  EXPECT_EQ(MmioRead(0xd0004000), 0x5aU);
  ConfigWrite(slot, pci::kBar0, 4, 0xffffffff);
  ConfigWrite(slot, pci::kBar0 + 4, 4, 0xffffffff);
  EXPECT_EQ(function->mapped, 0xffff'ffff'ffff'c000U) << "the top of the address space does not wrap";
}

TEST_F(PciTest, FunctionsGetSlotsAndAddressesOfTheirOwnUntilNoneIsLeft) {
  auto next = std::make_unique<TestFunction>(msi, 64_KiB);
  EXPECT_EQ(bus.Add(std::move(next)), 2U);
  EXPECT_EQ(ConfigRead(2, pci::kBar0, 4), 0xe0010004U) << "aligned to its size";
  EXPECT_THROW(bus.Add(std::make_unique<TestFunction>(msi, 1_MiB)), UsageError) << "the window is full";
  for (unsigned i = 3; i < PciBus::kSlots; ++i) EXPECT_EQ(bus.Add(std::make_unique<TestFunction>(msi)), i);
  EXPECT_THROW(bus.Add(std::make_unique<TestFunction>(msi)), UsageError);
}

TEST_F(PciTest, ReadOnlyRegistersStayAsTheyAre) {
  for (const unsigned reg : {0x00U, 0x06U, 0x08U, 0x0cU, 0x18U, 0x2cU, 0x30U, 0x34U}) {
    const uint64_t before = ConfigRead(slot, reg, 2);
    ConfigWrite(slot, reg, 2, ~before);
    EXPECT_EQ(ConfigRead(slot, reg, 2), before) << std::hex << reg;
  }
  ConfigWrite(slot, pci::kCommand, 2, 0xffff);
  EXPECT_EQ(ConfigRead(slot, pci::kCommand, 2), 0x0406U);
  ConfigWrite(slot, pci::kInterruptLine, 1, 11);
  EXPECT_EQ(ConfigRead(slot, pci::kInterruptLine, 2), 0x010bU) << "the line is the guest's to note, the pin is INTA#";
}

TEST_F(PciTest, TheInterruptPinDrivesTheLineOfItsSlotUnlessDisabled) {
  function->SetIntx(true);
  EXPECT_TRUE(lines[1].level);
  EXPECT_EQ(ConfigRead(slot, pci::kStatus, 2) & pci::kStatusInterrupt, pci::kStatusInterrupt);
  ConfigWrite(slot, pci::kCommand, 2, pci::kCommandIntxDisable);
  EXPECT_FALSE(lines[1].level);
  EXPECT_EQ(ConfigRead(slot, pci::kStatus, 2) & pci::kStatusInterrupt, pci::kStatusInterrupt) << "still pending";
  ConfigWrite(slot, pci::kCommand, 2, 0);
  EXPECT_TRUE(lines[1].level);
  function->SetIntx(false);
  EXPECT_FALSE(lines[1].level);
  EXPECT_EQ(lines[1].changes, 4U);
}

TEST_F(PciTest, ASharedLineStaysAssertedUntilTheLastFunctionLetsGo) {
  for (unsigned i = 2; i < 5; ++i) bus.Add(std::make_unique<TestFunction>(msi));
  auto* const sharer =
      dynamic_cast<TestFunction*>(bus.Add(std::make_unique<TestFunction>(msi)) == 5 ? bus.function(5) : nullptr);
  ASSERT_NE(sharer, nullptr);
  function->SetIntx(true);
  sharer->SetIntx(true);
  function->SetIntx(false);
  EXPECT_TRUE(lines[1].level) << "slots 1 and 5 share a line";
  sharer->SetIntx(false);
  EXPECT_FALSE(lines[1].level);
}

TEST_F(PciTest, ASlotMayHaveEightFunctionsOnceItHasTheFirst) {
  EXPECT_THROW(bus.Add(std::make_unique<TestFunction>(msi), PciPlace{.slot = 3, .function = 1}), UsageError);
  EXPECT_EQ(ConfigRead(slot, pci::kHeaderType, 1), 0U);
  EXPECT_EQ(bus.Add(std::make_unique<TestFunction>(msi), PciPlace{.slot = slot, .function = 7}), slot);
  EXPECT_EQ(ConfigRead(slot, pci::kHeaderType, 1), 0x80U) << "a guest looks for the others";
  WriteRegister(bus.config_ports(), 0, 4, 0x80000000U | slot << 11 | 7U << 8);
  EXPECT_EQ(ReadRegister(bus.config_ports(), 4, 4), 0x10421af4U);
  EXPECT_THROW(bus.Add(std::make_unique<TestFunction>(msi), PciPlace{.slot = slot, .function = 7}), UsageError);
  EXPECT_THROW(bus.Add(std::make_unique<TestFunction>(msi), PciPlace{.slot = slot, .function = 8}), UsageError);
  bus.Reset();
  EXPECT_EQ(ConfigRead(slot, pci::kHeaderType, 1), 0x80U);
}

class RootPortTest : public PciTest {
 protected:
  static constexpr GpaRange kWide{Gpa(0xc000'0000), 64_MiB};
  RootPortTest() {
    wide.AddRootPort({.slot = 2});
    wide.AddRootPort({.slot = 2, .function = 1});
    auto made = std::make_unique<TestFunction>(msi);
    behind = made.get();
    wide.Add(std::move(made), PciPlace{.bus = 2});
  }
  // By ECAM.
  uint64_t Read(unsigned on_bus, unsigned function_index, unsigned reg, size_t width) {
    return ReadRegister(wide.ecam(), on_bus << 20 | function_index << 12 | reg, width);
  }
  void Write(unsigned on_bus, unsigned function_index, unsigned reg, size_t width, uint64_t value) {
    WriteRegister(wide.ecam(), on_bus << 20 | function_index << 12 | reg, width, value);
  }
  static constexpr unsigned kSecond = 2 * 8 + 1;  // the second port

  PciBus wide{mmio, kWide, {&lines[0], &lines[1], &lines[2], &lines[3]}};
  TestFunction* behind = nullptr;
};

TEST_F(RootPortTest, LeadsToItsDeviceByTheBusNumberTheGuestGaveIt) {
  EXPECT_EQ(Read(0, kSecond, pci::kVendorId, 4), 0x000c1b36U);
  EXPECT_EQ(Read(0, kSecond, pci::kHeaderType, 1), 1U);
  EXPECT_EQ(Read(0, 2 * 8, pci::kHeaderType, 1), 0x81U);
  EXPECT_EQ(Read(0, kSecond, 0x0a, 2), 0x0604U) << "a bridge";
  EXPECT_EQ(Read(0, kSecond, 0x18, 4) & 0xffffff, 0x020200U) << "as firmware leaves it";
  EXPECT_EQ(Read(2, 0, pci::kVendorId, 4), 0x10421af4U);
  EXPECT_EQ(Read(1, 0, pci::kVendorId, 4), 0xffffffffU) << "nothing is behind the first port";
  EXPECT_EQ(Read(2, 1, pci::kVendorId, 4), 0xffffffffU) << "one device is behind a port";
  Write(0, kSecond, 0x19, 2, 0x0909);
  EXPECT_EQ(Read(2, 0, pci::kVendorId, 4), 0xffffffffU);
  EXPECT_EQ(Read(9, 0, pci::kVendorId, 4), 0x10421af4U);
  wide.Reset();
  EXPECT_EQ(behind->resets, 1);
  EXPECT_EQ(Read(2, 0, pci::kVendorId, 4), 0x10421af4U);
}

TEST_F(RootPortTest, ItsWindowHoldsTheBarOfTheDeviceBehindIt) {
  EXPECT_EQ(Read(0, kSecond, 0x20, 4), 0xc010c010U) << "one MiB from 0xc0100000 up";
  EXPECT_EQ(Read(0, 2 * 8, 0x20, 4), 0xc000c000U) << "the one before it, for what may come";
  EXPECT_EQ(Read(2, 0, pci::kBar0, 4), 0xc0100004U);
  Write(2, 0, pci::kCommand, 2, pci::kCommandMemory);
  EXPECT_EQ(MmioRead(0xc0100000), 0x5aU);
  EXPECT_EQ(Read(0, kSecond, 0x1c, 2), 0U) << "no I/O window";
  EXPECT_EQ(Read(0, kSecond, 0x24, 4), 0U) << "no prefetchable one";
  Write(0, kSecond, 0x20, 4, 0xffffffff);
  EXPECT_EQ(Read(0, kSecond, 0x20, 4), 0xfff0fff0U);
}

TEST_F(RootPortTest, WhatIsBehindItInterruptsOnThePinOfItsSlot) {
  behind->SetIntx(true);
  EXPECT_TRUE(lines[2].level);
  Write(0, kSecond, pci::kCommand, 2, pci::kCommandIntxDisable);
  EXPECT_TRUE(lines[2].level) << "the port disables its own interrupts, of which it has none";
  Write(2, 0, pci::kCommand, 2, pci::kCommandIntxDisable);
  EXPECT_FALSE(lines[2].level);
}

TEST_F(RootPortTest, TakesOneDevice) {
  EXPECT_THROW(wide.Add(std::make_unique<TestFunction>(msi), PciPlace{.bus = 2}), UsageError);
  EXPECT_THROW(wide.Add(std::make_unique<TestFunction>(msi), PciPlace{.bus = 1, .slot = 1}), UsageError);
  EXPECT_THROW(wide.Add(std::make_unique<TestFunction>(msi), PciPlace{.bus = 3}), UsageError);
  EXPECT_THROW(wide.AddRootPort({.slot = 2}), UsageError);
}

TEST_F(PciTest, ResetBringsBackThePowerOnState) {
  ConfigWrite(slot, pci::kBar0, 4, 0xe0080000);
  ConfigWrite(slot, pci::kCommand, 2, pci::kCommandMemory);
  const unsigned msix = FindCapability(pci::kCapabilityMsix);
  ConfigWrite(slot, msix + 2, 2, 0x8000);
  EXPECT_TRUE(function->msix.enabled());
  bus.Reset();
  EXPECT_EQ(function->resets, 1);
  EXPECT_FALSE(function->msix.enabled());
  EXPECT_EQ(function->mapped, std::nullopt);
  EXPECT_EQ(ConfigRead(slot, pci::kBar0, 4), 0xe0000004U);
  EXPECT_EQ(ConfigRead(slot, pci::kCommand, 2), 0U);
}

TEST_F(PciTest, TheMsixCapabilityDescribesTheTable) {
  const unsigned at = FindCapability(pci::kCapabilityMsix);
  ASSERT_NE(at, 0U);
  EXPECT_EQ(ConfigRead(slot, at + 2, 2), 2U) << "three vectors";
  EXPECT_EQ(ConfigRead(slot, at + 4, 4), 0x2000U);
  EXPECT_EQ(ConfigRead(slot, at + 8, 4), 0x2800U);
  ConfigWrite(slot, at + 2, 2, 0xffff);
  EXPECT_EQ(ConfigRead(slot, at + 2, 2), 0xc002U);
}

}  // namespace
}  // namespace faultline
