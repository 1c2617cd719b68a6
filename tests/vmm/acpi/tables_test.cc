#include "vmm/acpi/tables.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "guestmem/error.h"

namespace faultline {
namespace {

// Finds tables as an operating system does: from the RSDP on.
class FoundTables {
 public:
  FoundTables(std::vector<std::byte> block, Gpa base) : block_(std::move(block)), base_(base) {
    EXPECT_EQ(Text(base, 8), "RSD PTR ");
    EXPECT_TRUE(SumsToZero(base, 20));
    EXPECT_TRUE(SumsToZero(base, 36));
    const Gpa xsdt(Number(base + Bytes(24), 8));
    Check(xsdt, "XSDT");
    for (uint64_t at = 36; at < Number(xsdt + Bytes(4), 4); at += 8) {
      const Gpa table(Number(xsdt + Bytes(at), 8));
      Check(table, Text(table, 4));
      tables_[Text(table, 4)] = table;
    }
  }

  bool Has(const std::string& signature) const { return tables_.contains(signature); }
  Gpa At(const std::string& signature) const { return tables_.at(signature); }
  uint64_t Length(Gpa table) const { return Number(table + Bytes(4), 4); }
  uint64_t Number(Gpa at, size_t width) const {
    uint64_t value = 0;
    std::memcpy(&value, block_.data() + (at - base_).value, width);
    return value;
  }
  std::string Text(Gpa at, size_t size) const {
    return {reinterpret_cast<const char*>(block_.data() + (at - base_).value), size};
  }
  void Check(Gpa table, const std::string& signature) const {
    EXPECT_EQ(Text(table, 4), signature);
    EXPECT_TRUE(SumsToZero(table, Length(table))) << signature;
  }

 private:
  bool SumsToZero(Gpa at, size_t size) const {
    unsigned sum = 0;
    for (size_t i = 0; i < size; ++i) sum += static_cast<unsigned>(Number(at + Bytes(i), 1));
    return sum % 256 == 0;
  }

  std::vector<std::byte> block_;
  Gpa base_;
  std::map<std::string, Gpa> tables_;
};

AcpiConfig Config(unsigned cpus) {
  AcpiConfig config;
  config.place = {Gpa(0xe0000), 128_KiB};
  config.cpus = cpus;
  config.ram = {{Gpa(0), 512_MiB}};
  config.ecam = {Gpa(0xe0000000), 1_MiB};
  return config;
}

FoundTables Build(const AcpiConfig& config) { return {BuildAcpiTables(config), config.place.start}; }

TEST(AcpiTables, AreFoundFromTheRootPointerWithGoodChecksums) {
  const FoundTables tables = Build(Config(2));
  for (const char* signature : {"FACP", "APIC", "SRAT", "MCFG"}) EXPECT_TRUE(tables.Has(signature)) << signature;
  const Gpa fadt = tables.At("FACP");
  EXPECT_EQ(tables.Length(fadt), 276U);
  tables.Check(Gpa(tables.Number(fadt + Bytes(140), 8)), "DSDT");
  EXPECT_EQ(tables.Number(fadt + Bytes(112), 4) >> 20 & 1, 1U) << "hardware-reduced";
}

TEST(AcpiTables, NameEveryProcessorOnce) {
  for (const unsigned cpus : {1U, 4U, 256U}) {
    const FoundTables tables = Build(Config(cpus));
    const Gpa madt = tables.At("APIC");
    std::vector<uint64_t> ids;
    for (uint64_t at = 44; at < tables.Length(madt); at += tables.Number(madt + Bytes(at + 1), 1)) {
      const uint64_t type = tables.Number(madt + Bytes(at), 1);
      if (type == 0) ids.push_back(tables.Number(madt + Bytes(at + 3), 1));
      if (type == 9) ids.push_back(tables.Number(madt + Bytes(at + 4), 4));
    }
    ASSERT_EQ(ids.size(), cpus);
    for (unsigned i = 0; i < cpus; ++i) EXPECT_EQ(ids[i], i);
  }
}

TEST(AcpiTables, TellWhereMemoryMayBePluggedAndSayNothingOfAWindowThatIsNotThere) {
  AcpiConfig config = Config(1);
  const auto hot_pluggable = [](const FoundTables& tables) {
    std::vector<GpaRange> ranges;
    const Gpa srat = tables.At("SRAT");
    for (uint64_t at = 48; at < tables.Length(srat); at += tables.Number(srat + Bytes(at + 1), 1)) {
      if (tables.Number(srat + Bytes(at), 1) != 1 || (tables.Number(srat + Bytes(at + 28), 4) & 2) == 0) continue;
      ranges.push_back({Gpa(tables.Number(srat + Bytes(at + 8), 8)), Bytes(tables.Number(srat + Bytes(at + 16), 8))});
    }
    return ranges;
  };
  EXPECT_TRUE(hot_pluggable(Build(config)).empty());
  config.hotplug_windows = {{Gpa(0x140000000), 0_KiB}};
  EXPECT_TRUE(hot_pluggable(Build(config)).empty());
  config.hotplug_windows = {{Gpa(0x140000000), 1_GiB}, {Gpa(0x180000000), 1_GiB}};
  EXPECT_EQ(hot_pluggable(Build(config)), config.hotplug_windows);
}

TEST(AcpiTables, HaveAMemoryDeviceForEachSlot) {
  AcpiConfig config = Config(1);
  EXPECT_FALSE(Build(config).Has("SSDT"));
  for (const unsigned slots : {1U, 5U, 64U, 256U}) {
    config.memory_slots = slots;
    const FoundTables tables = Build(config);
    const Gpa ssdt = tables.At("SSDT");
    const std::string aml = tables.Text(ssdt, tables.Length(ssdt));
    unsigned devices = 0;
    for (unsigned slot = 0; slot < 256; ++slot) {
      char name[] = "M000";
      std::snprintf(name, sizeof(name), "M%03X", slot);
      // DeviceOp, a package length of one or two bytes, the name (ACPI 6.5 §20.2.5.2).
      for (size_t at = aml.find(name); at != std::string::npos; at = aml.find(name, at + 1)) {
        if (aml.substr(at - 4, 2) == "\x5b\x82" || aml.substr(at - 3, 2) == "\x5b\x82") ++devices;
      }
    }
    EXPECT_GE(devices, slots);
    EXPECT_LE(devices, 4 * slots);
  }
}

// What iasl makes of a table.
std::string Disassembled(std::span<const std::byte> table) {
  std::string dir = testing::TempDir() + "acpi-XXXXXX";
  if (mkdtemp(dir.data()) == nullptr) return "no folder";
  std::ofstream(dir + "/t.aml", std::ios::binary)
      .write(reinterpret_cast<const char*>(table.data()), static_cast<std::streamsize>(table.size()));
  // NOLINTNEXTLINE(cert-env33-c,concurrency-mt-unsafe)
  const int status = std::system((FAULTLINE_IASL " -d " + dir + "/t.aml >" + dir + "/log 2>&1").c_str());
  std::stringstream text;
  text << std::ifstream(dir + (status == 0 ? "/t.dsl" : "/log")).rdbuf();
  std::filesystem::remove_all(dir);
  std::string squeezed;
  for (const char c : text.str()) {
    if (c != ' ' && c != '\n') squeezed += c;
  }
  return squeezed;
}

TEST(AcpiTables, HaveADeviceForEachSlotOfTheRootBusThatCardsComeTo) {
  std::vector<PciSlot> slots;
  for (unsigned slot = 1; slot < 32; ++slot) slots.push_back({.number = slot, .place = {.slot = slot}, .port = {}});
  const std::string text = Disassembled(PciSlotTable(slots));
  for (const char* part : {"Scope(\\_SB.PCI0)", "OperationRegion(PHPR,SystemIO,0x0000AE00,0x0000000C)",
                           "Field(PHPR,DWordAcc,NoLock,Preserve){PINS,32,PREM,32,PEJT,32}", "Device(SL01)",
                           "Device(SL1F){Name(_ADR,0x001F0000)", "Name(_SUN,0x0000001F)", "PEJT=0x80000000",
                           "Method(PSCN,0,Serialized){Local0=PINS", "If((Local0&0x80000000)){Notify(SL1F,0x01)",
                           "If((Local1&0x00000002)){Notify(SL01,0x03)"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  }
}

TEST(AcpiTables, HaveADeviceBehindEachRootPortThatCardsComeTo) {
  const std::vector<PciSlot> slots{
      {.number = 0, .place = {.bus = 1}, .port = PciPlace{.slot = 1}},
      {.number = 3, .place = {.bus = 4}, .port = PciPlace{.slot = 2, .function = 1}},
  };
  const std::string text = Disassembled(PciSlotTable(slots));
  for (const char* part : {"Device(SL00){Name(_ADR,0x00010000)", "Device(SL03){Name(_ADR,0x00020001)",
                           "Device(S000){Name(_ADR,0x00000000)", "Name(_SUN,0x00000003)", "PEJT=0x00000008",
                           "Notify(\\_SB.PCI0.SL03.S000,0x01)", "Notify(\\_SB.PCI0.SL00.S000,0x03)"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
  }
}

TEST(AcpiTables, ThatDoNotFitAreRefused) {
  AcpiConfig config = Config(256);
  config.place.size = 4_KiB;
  EXPECT_THROW(BuildAcpiTables(config), UsageError);
}

}  // namespace
}  // namespace faultline
