// Configuration space by ports and by ECAM, BARs and MSI-X tables, in any order.
#include <array>
#include <cstdlib>

#include "devices/pci/pci_bus.h"
#include "tests/devices/pci/fake_interrupts.h"
#include "tests/fuzz/guest_input.h"

namespace faultline {
namespace {

class Function final : public PciFunction, private BusDevice {
 public:
  explicit Function(MsiHost& msi)
      : PciFunction({.vendor = 0x1af4, .device = 0x1042, .class_code = 0x018000, .revision = 1}), msix(msi, 3) {
    AddBar(16_KiB, *this);
    AddMsix(msix, 0x1000);
  }
  ~Function() override { Disconnect(); }
  using PciFunction::SetIntx;
  Msix msix;

 private:
  void Read(Bytes offset, std::span<std::byte> out) override {
    if (offset.value >= bar_size().value || out.size() > bar_size().value - offset.value) abort();
    msix.Read(Bytes(offset.value % Msix::size().value), out);
  }
  void Write(Bytes offset, std::span<const std::byte> data) override {
    if (offset.value >= bar_size().value || data.size() > bar_size().value - offset.value) abort();
    msix.Write(Bytes(offset.value % Msix::size().value), data);
  }
};

void Run(std::span<const std::byte> bytes) {
  GuestInput input(bytes);
  Bus ports;
  Bus mmio;
  FakeMsiHost msi;
  msi.vectors_left = 4;
  std::array<FakeLine, 4> lines;
  PciBus pci(mmio, {Gpa(0xe000'0000), 16_MiB}, {&lines[0], &lines[1], &lines[2], &lines[3]});
  ports.Attach(PciBus::kConfigPort, PciBus::kConfigPortCount, pci.config_ports());
  mmio.Attach(0xd000'0000, PciBus::kEcamSize, pci.ecam());
  std::array<Function*, 3> functions;
  for (Function*& function : functions) {
    auto made = std::make_unique<Function>(msi);
    function = made.get();
    const bool behind = &function == &functions.back();
    if (behind) pci.AddRootPort({.slot = 3});
    pci.Add(std::move(made), behind ? std::optional(PciPlace{.bus = 1}) : std::nullopt);
  }
  std::array<std::byte, 8> data = {};
  const auto access = [&](const Bus& bus, uint64_t address) {
    const bool write = input.Take(1) % 2 != 0;
    const size_t width = input.TakeWidth();
    if (!write) {
      bus.Read(address, std::span(data).first(width));
      return;
    }
    StoreLittleEndian(input.Take(width), data);
    bus.Write(address, std::span(data).first(width));
  };
  while (!input.empty()) {
    switch (input.Take(1) % 7) {
      case 0:
        access(ports, PciBus::kConfigPort + input.Take(1) % 8);
        break;
      case 1:
        access(mmio, 0xd000'0000 + (input.Take(1) % 4 << 15) + input.Take(2) % 0x2000);
        break;
      case 6:
        access(mmio, 0xd000'0000 + (input.Take(1) % PciBus::kBuses << 20) + input.Take(2) % 0x1000);
        break;
      case 2:
        access(mmio, 0xe000'0000 + input.Take(2));
        break;
      case 3:
        access(mmio, input.Take(8));
        break;
      case 4:
        functions[input.Take(1) % 3]->msix.Notify(static_cast<unsigned>(input.Take(1)));
        break;
      default:
        functions[input.Take(1) % 3]->SetIntx(input.Take(1) % 2 != 0);
    }
  }
  pci.Reset();
}

}  // namespace
}  // namespace faultline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  faultline::Run(std::as_bytes(std::span(data, size)));
  return 0;
}
