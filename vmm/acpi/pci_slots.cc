#include "vmm/acpi/pci_slots.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "devices/pci/pci_hotplug.h"
#include "guestmem/error.h"
#include "vmm/acpi/table_builder.h"

namespace faultline {
namespace {

// ACPI machine language, put together from the inside out (ACPI 6.5 §20.2). Names are segments of four characters.
using Aml = std::string;

template <typename... Parts>
Aml Join(const Parts&... parts) {
  Aml aml;
  (aml.append(parts), ...);
  return aml;
}

Aml Number(uint64_t value, unsigned width) {
  Aml aml;
  for (unsigned i = 0; i < width; ++i) aml += static_cast<char>(value >> (8 * i) & 0xff);
  return aml;
}

Aml Dword(uint32_t value) { return Join("\x0c", Number(value, 4)); }

// §20.2.4: a length counts its own bytes. The first one holds how many follow, and four bits when any do.
Aml WithLength(const Aml& body) {
  constexpr size_t kInOneByte = 64;
  if (const size_t whole = body.size() + 1; whole < kInOneByte) return Join(Number(whole, 1), body);
  for (unsigned following = 1; following <= 3; ++following) {
    const size_t whole = body.size() + 1 + following;
    if (whole < size_t{1} << (4 + 8 * following)) {
      return Join(Number(following << 6 | (whole & 0xf), 1), Number(whole >> 4, following), body);
    }
  }
  throw Error("an ACPI object is too large");
}

Aml Scope(std::string_view path, const Aml& body) { return Join("\x10", WithLength(Join(path, body))); }
Aml Device(std::string_view name, const Aml& body) { return Join("\x5b\x82", WithLength(Join(name, body))); }
Aml Name(std::string_view name, const Aml& value) { return Join("\x08", name, value); }
Aml Method(std::string_view name, unsigned arguments, const Aml& body) {
  constexpr unsigned kSerialized = 1U << 3;
  return Join("\x14", WithLength(Join(name, Number(arguments | kSerialized, 1), body)));
}
Aml Store(std::string_view value, std::string_view target) { return Join("\x70", value, target); }
Aml If(const Aml& condition, const Aml& body) { return Join("\xa0", WithLength(Join(condition, body))); }
Aml And(std::string_view left, const Aml& right) { return Join("\x7b", left, right, Number(0, 1)); }
Aml Notify(std::string_view object, uint8_t value) { return Join("\x86", object, "\x0a", Number(value, 1)); }

constexpr std::string_view kLocal0 = "\x60";
constexpr std::string_view kLocal1 = "\x61";
// A path of two segments.
constexpr std::string_view kPci0 = "\\\x2e_SB_PCI0";
constexpr std::string_view kBehindPort = "S000";

// The registers: what came, what is wanted back, and what the guest ejects.
Aml Registers() {
  constexpr uint8_t kSystemIo = 1;
  constexpr uint8_t kDwordAccess = 3;
  constexpr uint8_t kBits = 32;
  const auto field = [](std::string_view name) { return Join(name, Number(kBits, 1)); };
  return Join("\x5b\x80", "PHPR", Number(kSystemIo, 1), Dword(PciHotplug::kPort), Dword(PciHotplug::kPortCount.value),
              "\x5b\x81",
              WithLength(Join("PHPR", Number(kDwordAccess, 1), field("PINS"), field("PREM"), field("PEJT"))));
}

std::string SlotName(const PciSlot& slot) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  return {'S', 'L', kDigits[slot.number >> 4 & 0xf], kDigits[slot.number & 0xf]};
}

uint32_t Address(PciPlace place) { return place.slot << 16 | place.function; }

Aml SlotDevice(const PciSlot& slot) {
  const Aml card = Join(Name("_ADR", Dword(Address(slot.place))), Name("_SUN", Dword(slot.number)),
                        Method("_EJ0", 1, Store(Dword(1U << slot.number), "PEJT")));
  if (!slot.port) return Device(SlotName(slot), card);
  return Device(SlotName(slot), Join(Name("_ADR", Dword(Address(*slot.port))), Device(kBehindPort, card)));
}

// Reading the registers clears them, so all slots are looked at for one reading.
Aml Scan(std::span<const PciSlot> slots) {
  constexpr uint8_t kDeviceCheck = 1;
  constexpr uint8_t kEjectRequest = 3;
  Aml body = Join(Store("PINS", kLocal0), Store("PREM", kLocal1));
  for (const PciSlot& slot : slots) {
    // Paths of several names are not looked for in the scopes around the method's, so this one is absolute.
    const Aml object = slot.port ? Join("\\\x2f\x04", "_SB_PCI0", SlotName(slot), kBehindPort) : SlotName(slot);
    const Aml bit = Dword(1U << slot.number);
    body += If(And(kLocal0, bit), Notify(object, kDeviceCheck));
    body += If(And(kLocal1, bit), Notify(object, kEjectRequest));
  }
  return Method("PSCN", 0, body);
}

}  // namespace

std::vector<std::byte> PciSlotTable(std::span<const PciSlot> slots) {
  Aml body = Registers();
  for (const PciSlot& slot : slots) body += SlotDevice(slot);
  TableBuilder table("SSDT", 2);
  for (const char byte : Scope(kPci0, Join(body, Scan(slots)))) table.Append(static_cast<uint8_t>(byte), 1);
  return table.Finish();
}

}  // namespace faultline
