#include "vmm/acpi/tables.h"

#include <algorithm>
#include <string>

#include "devices/acpi_power.h"
#include "devices/ioapic.h"
#include "guestmem/error.h"
#include "vmm/acpi/table_builder.h"

namespace faultline {
namespace {

constexpr unsigned kLastLocalApicId = 254;  // ids above need an x2APIC entry
constexpr Gpa kLocalApic{0xfee00000};

std::vector<std::byte> Madt(const AcpiConfig& config) {
  constexpr uint32_t kPcatCompatible = 1;
  TableBuilder table("APIC", 5);
  table.Append(kLocalApic.value, 4);
  table.Append(config.legacy_pics ? kPcatCompatible : 0, 4);
  for (unsigned id = 0; id < config.cpus; ++id) {
    constexpr uint32_t kEnabled = 1;
    if (id <= kLastLocalApicId) {
      table.Append(0, 1);  // processor local APIC
      table.Append(8, 1);
      table.Append(id, 1);
      table.Append(id, 1);
      table.Append(kEnabled, 4);
    } else {
      table.Append(9, 1);  // processor local x2APIC
      table.Append(16, 1);
      table.Append(0, 2);
      table.Append(id, 4);
      table.Append(kEnabled, 4);
      table.Append(id, 4);
    }
  }
  table.Append(1, 1);  // IOAPIC
  table.Append(12, 1);
  table.Append(0, 2);
  table.Append(Ioapic::kAddress, 4);
  table.Append(0, 4);
  table.Append(4, 1);  // NMI at LINT1 of all processors
  table.Append(6, 1);
  table.Append(0xff, 1);
  table.Append(0, 2);
  table.Append(1, 1);
  return table.Finish();
}

std::vector<std::byte> Srat(const AcpiConfig& config) {
  TableBuilder table("SRAT", 3);
  table.Append(1, 4);
  table.Append(0, 8);
  constexpr uint32_t kEnabled = 1;
  for (unsigned id = 0; id < config.cpus; ++id) {
    if (id <= kLastLocalApicId) {
      table.Append(0, 1);  // processor local APIC
      table.Append(16, 1);
      table.Append(0, 1);
      table.Append(id, 1);
      table.Append(kEnabled, 4);
      table.Append(0, 8);
    } else {
      table.Append(2, 1);  // processor local x2APIC
      table.Append(24, 1);
      table.Append(0, 2);
      table.Append(0, 4);
      table.Append(id, 4);
      table.Append(kEnabled, 4);
      table.Append(0, 8);
    }
  }
  const auto memory = [&table](GpaRange range, uint32_t node, uint32_t flags) {
    table.Append(1, 1);
    table.Append(40, 1);
    table.Append(node, 4);
    table.Append(0, 2);
    table.Append(range.start);
    table.Append(range.size);
    table.Append(0, 4);
    table.Append(flags, 4);
    table.Append(0, 8);
  };
  constexpr uint32_t kHotPluggable = 2;
  for (const GpaRange& range : config.ram) memory(range, 0, kEnabled);
  for (uint32_t node = 0; node < config.hotplug_windows.size(); ++node) {
    const GpaRange window = config.hotplug_windows[node];
    if (window.size.value != 0) memory(window, node, kEnabled | kHotPluggable);
  }
  return table.Finish();
}

std::vector<std::byte> Mcfg(const AcpiConfig& config) {
  constexpr Bytes kPerBus = 1_MiB;
  TableBuilder table("MCFG", 1);
  table.Append(0, 8);
  table.Append(config.ecam.start);
  table.Append(0, 2);  // segment
  table.Append(0, 1);  // first bus
  table.Append(config.ecam.size / kPerBus - 1, 1);
  table.Append(0, 4);
  return table.Finish();
}

std::vector<std::byte> Fadt(Gpa dsdt) {
  constexpr uint32_t kWbinvd = 1U << 0;
  constexpr uint32_t kNoFixedPowerButton = 1U << 4;
  constexpr uint32_t kNoFixedSleepButton = 1U << 5;
  constexpr uint32_t kHasResetRegister = 1U << 10;
  constexpr uint32_t kHardwareReduced = 1U << 20;
  constexpr uint16_t kLegacyDevices = 1U << 0;
  constexpr uint16_t kNoVga = 1U << 2;  // and no 8042: bit 1 is clear
  TableBuilder table("FACP", 6);
  table.PadTo(109);
  table.Append(kLegacyDevices | kNoVga, 2);
  table.PadTo(112);
  table.Append(kWbinvd | kNoFixedPowerButton | kNoFixedSleepButton | kHasResetRegister | kHardwareReduced, 4);
  table.AppendPort(AcpiPower::kPort + AcpiPower::kReset);
  table.Append(AcpiPower::kResetValue, 1);
  table.PadTo(131);
  table.Append(5, 1);  // of ACPI 6.5
  table.PadTo(140);
  table.Append(dsdt);
  table.PadTo(244);
  table.AppendPort(AcpiPower::kPort + AcpiPower::kSleepControl);
  table.AppendPort(AcpiPower::kPort + AcpiPower::kSleepStatus);
  table.PadTo(276);
  return table.Finish();
}

std::vector<std::byte> Rsdp(Gpa xsdt) {
  constexpr size_t kFirstPart = 20;
  constexpr size_t kSize = 36;
  std::vector<std::byte> bytes;
  const auto text = [&bytes](std::string_view part) {
    for (const char c : part) bytes.push_back(static_cast<std::byte>(c));
  };
  const auto number = [&bytes](uint64_t value, unsigned width) {
    for (unsigned i = 0; i < width; ++i) bytes.push_back(static_cast<std::byte>(value >> (8 * i) & 0xff));
  };
  text("RSD PTR ");
  number(0, 1);
  text("FAULTL");
  number(2, 1);  // ACPI 2.0 and later
  number(0, 4);  // no RSDT
  number(kSize, 4);
  number(xsdt.value, 8);
  number(0, 4);
  bytes[8] = TableBuilder::Checksum(std::span(bytes).first(kFirstPart));
  bytes[32] = TableBuilder::Checksum(bytes);
  return bytes;
}

// Puts tables one after another.
class Block {
 public:
  explicit Block(GpaRange place) : place_(place) {}

  Gpa Add(std::span<const std::byte> table) {
    constexpr Bytes kAlignment{16};
    bytes_.resize(AlignUp(Bytes(bytes_.size()), kAlignment).value);
    const Gpa at = place_.start + Bytes(bytes_.size());
    bytes_.insert(bytes_.end(), table.begin(), table.end());
    if (bytes_.size() > place_.size.value) {
      throw UsageError("the ACPI tables do not fit below 1 MiB: ask for fewer CPUs");
    }
    return at;
  }
  void Overwrite(size_t offset, std::span<const std::byte> part) {
    std::copy(part.begin(), part.end(), bytes_.begin() + static_cast<ptrdiff_t>(offset));
  }
  std::vector<std::byte> Take() { return std::move(bytes_); }

 private:
  const GpaRange place_;
  std::vector<std::byte> bytes_;
};

}  // namespace

std::vector<std::byte> BuildAcpiTables(const AcpiConfig& config) {
  Block block(config.place);
  block.Add(Rsdp(Gpa(0)));  // its place; the address it holds is known at the end
  TableBuilder xsdt("XSDT", 1);
  xsdt.Append(block.Add(Fadt(block.Add(CompiledDsdt()))));
  if (config.memory_slots != 0) xsdt.Append(block.Add(CompiledMemorySlots(config.memory_slots)));
  if (!config.pci_slots.empty()) xsdt.Append(block.Add(PciSlotTable(config.pci_slots)));
  xsdt.Append(block.Add(Madt(config)));
  xsdt.Append(block.Add(Srat(config)));
  if (config.ecam.size.value != 0) xsdt.Append(block.Add(Mcfg(config)));
  block.Overwrite(0, Rsdp(block.Add(xsdt.Finish())));
  return block.Take();
}

}  // namespace faultline
