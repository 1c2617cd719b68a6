// A PC without firmware: the kernel is put into memory and started directly.
#include <array>
#include <atomic>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "devices/acpi_power.h"
#include "devices/bus.h"
#include "devices/debug_exit.h"
#include "devices/i8042.h"
#include "devices/memory_hotplug.h"
#include "devices/panic_port.h"
#include "devices/pci/pci_bus.h"
#include "devices/pit_channel2.h"
#include "devices/rtc.h"
#include "devices/serial.h"
#include "guestmem/error.h"
#include "guestmem/guest_memory.h"
#include "vmm/acpi/tables.h"
#include "vmm/boot/boot.h"
#include "vmm/boot/entry_state.h"
#include "vmm/kvm/guest_cpuid.h"
#include "vmm/kvm/kvm_doorbell_host.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/kvm/vcpu_thread.h"
#include "vmm/machine/config.h"
#include "vmm/machine/elastic_memory.h"
#include "vmm/machine/pc_interrupts.h"
#include "vmm/machine/pc_layout.h"
#include "vmm/machine/pci_cards.h"
#include "vmm/machine/platform.h"
#include "vmm/machine/run_control.h"

namespace faultline {
namespace {

class PcPlatform final : public Platform {
 public:
  explicit PcPlatform(const PlatformParts& parts)
      : parts_(parts),
        interrupts_(parts.vm, parts.mmio),
        serial_(parts.console, &interrupts_.line(pc::kSerialPin)),
        power_({[this] { OnPowerOff(); }, [this] { OnReset(); }}, interrupts_.line(pc::kEventPin)),
        keyboard_([this] { OnReset(); }),
        panic_([this] { OnPanic(); }),
        debug_exit_([this](uint32_t value) { OnDebugExit(value); }),
        doorbells_(parts.vm),
        pci_(parts.mmio, pc::kPciWindow, PciLines(), [this] { OnReset(); }),
        cards_(pci_, environment(), parts.config.devices,
               {[this] { power_.Raise(AcpiPower::kPci); },
                [this](const std::string& id) { parts_.report(CardUnpluggedEvent{id}); }}) {}

  void Load() override {
    AttachDevices();
    virtio_console_ = cards_.AddAll(two_consoles() ? parts_.config.virtio_console_output : parts_.console);
    for (ElasticCard& card : MakeElasticCards(parts_.config, parts_.layout, environment(), &parts_.elastic)) {
      pci_.Add(std::move(card.function), card.pci_place);
    }
    cards_.FindSlots();
    const std::vector<std::byte> tables = BuildAcpiTables(Acpi());
    if (parts_.memory.Write(pc::kFirmware.start, tables) != AccessResult::kOk) {
      throw Error("the host has no page for the ACPI tables: free memory on the host");
    }
    AddVcpus();
  }

  void RequestShutdown() override {
    shutdown_requested_.store(true, std::memory_order_relaxed);
    power_.Raise(AcpiPower::kPowerButton);
  }

  size_t ConsoleInput(std::span<const std::byte> data) override {
    return virtio_console_ != nullptr && !two_consoles() ? virtio_console_->QueueInput(data) : serial_.QueueInput(data);
  }
  size_t VirtioConsoleInput(std::span<const std::byte> data) override {
    return virtio_console_ != nullptr && two_consoles() ? virtio_console_->QueueInput(data) : data.size();
  }
  void PlugCard(const Card& card) override { cards_.Plug(card); }
  void UnplugCard(const std::string& id) override { cards_.Unplug(id); }
  DeviceConfig Devices() const override { return cards_.Devices(); }
  void OnMemoryEvent() override { power_.Raise(AcpiPower::kMemory); }
  void OnEndOfInterrupt(uint8_t vector) override { interrupts_.EndOfInterrupt(vector); }

  nlohmann::json SaveState() override {
    throw UsageError("a VM that runs a kernel of its own cannot be saved yet: only the built-in guest can");
  }
  void RestoreState(const nlohmann::json& /*state*/) override {
    throw UsageError("a VM that runs a kernel of its own cannot be restored yet: only the built-in guest can");
  }

 private:
  VirtioEnvironment environment() {
    return {.memory = parts_.memory,
            .msi = interrupts_.messages(),
            .doorbells = &doorbells_,
            .host = parts_.host,
            .on_broken = [this](const std::string& device, const std::string& sentence) {
              parts_.report(DeviceBrokenEvent{device, sentence});
            }};
  }

  bool two_consoles() const { return parts_.config.virtio_console_output != nullptr; }

  void AttachDevices() {
    Bus& ports = parts_.ports;
    ports.Attach(Serial::kCom1Port, Serial::kPortCount, serial_);
    ports.Attach(AcpiPower::kPort, AcpiPower::kPortCount, power_);
    ports.Attach(I8042::kPort, I8042::kPortCount, keyboard_);
    ports.Attach(MemoryHotplug::kPort, MemoryHotplug::kPortCount, parts_.hotplug);
    if (parts_.config.devices.hotplug) ports.Attach(PciHotplug::kPort, PciHotplug::kPortCount, cards_.registers());
    ports.Attach(PanicPort::kPort, PanicPort::kPortCount, panic_);
    ports.Attach(Rtc::kPort, Rtc::kPortCount, rtc_);
    ports.Attach(PitChannel2::kCounterPort, PitChannel2::kCounterPortCount, pit_.counter());
    ports.Attach(PitChannel2::kGatePort, PitChannel2::kGatePortCount, pit_.gate());
    ports.Attach(PciBus::kConfigPort, PciBus::kConfigPortCount, pci_.config_ports());
    parts_.mmio.Attach(pc::kEcam.start.value, PciBus::kEcamSize, pci_.ecam());
    if (parts_.config.devices.debug_exit) ports.Attach(DebugExit::kPort, DebugExit::kPortCount, debug_exit_);
  }

  std::array<IrqLine*, IntxRouter::kLines> PciLines() {
    std::array<IrqLine*, IntxRouter::kLines> lines{};
    for (unsigned i = 0; i < lines.size(); ++i) lines[i] = &interrupts_.line(pc::kFirstPciPin + i);
    return lines;
  }

  std::vector<GpaRange> Ram() const {
    std::vector<GpaRange> ram{parts_.layout.low};
    if (parts_.layout.high.size.value != 0) ram.push_back(parts_.layout.high);
    return ram;
  }

  AcpiConfig Acpi() const {
    AcpiConfig acpi;
    acpi.place = pc::kFirmware;
    acpi.cpus = parts_.config.cpus;
    acpi.legacy_pics = parts_.vm.irq_chip() == IrqChip::kKernel;
    acpi.ram = Ram();
    for (unsigned node = 0; node < parts_.layout.nodes; ++node) {
      acpi.hotplug_windows.push_back(parts_.layout.NodeWindow(node));
    }
    // What lies behind the window belongs to node 0 where that is all there is, and to the last otherwise.
    acpi.hotplug_windows.back().size = parts_.layout.hot_pluggable().end() - acpi.hotplug_windows.back().start;
    acpi.memory_slots = parts_.config.memory.slots;
    acpi.ecam = pc::kEcam;
    acpi.pci_slots = cards_.slots();
    return acpi;
  }

  BootEntry Boot(unsigned tsc_khz) const {
    BootRequest request;
    request.kernel = parts_.config.boot.kernel;
    request.initrd = parts_.config.boot.initrd;
    request.command_line = parts_.config.boot.command_line;
    request.default_words = DefaultCommandLine(software_kvm_, tsc_khz);
    request.ram = Ram();
    request.reserved = {pc::kHole};
    request.rsdp = pc::kFirmware.start;
    request.ram_is_zero = parts_.config.memory.backing.kind != BackingKind::kFile;
    return LoadKernel(parts_.host, parts_.memory, request).entry;
  }

  void AddVcpus() {
    const unsigned cpus = parts_.config.cpus;
    const KvmSystem& system = parts_.vm.system();
    const bool deadline_timer = system.CheckExtension(KVM_CAP_TSC_DEADLINE_TIMER) > 0;
    for (unsigned i = 0; i < cpus; ++i) {
      auto vcpu = std::make_unique<Vcpu>(parts_.vm, i, VcpuFeatures::kNone);
      const kvm::CpuidList cpuid = GuestCpuid(system.SupportedCpuid(), i, cpus, deadline_timer);
      vcpu->SetCpuid(software_kvm_ ? ForInterpretedKernel(cpuid) : cpuid);
      SetUpApic(vcpu.get());
      vcpu->SetMsrs(StartMsrs());
      // The others wait for INIT and SIPI, in KVM.
      if (i == 0) {
        const BootEntry entry = Boot(vcpu->tsc_khz());
        vcpu->SetSregs(KernelSregs(vcpu->GetSregs(), entry));
        vcpu->SetRegs(KernelRegs(entry));
      }
      parts_.run.AddVcpu(std::make_unique<VcpuThread>(std::move(vcpu), parts_.exits, parts_.slots));
    }
  }

  // As firmware leaves them: string instructions may move whole lines, all memory is write-back.
  static std::vector<kvm_msr_entry> StartMsrs() {
    constexpr uint32_t kMiscEnable = 0x1a0;
    constexpr uint64_t kFastStrings = 1;
    constexpr uint32_t kMtrrDefType = 0x2ff;
    constexpr uint64_t kMtrrsOn = 1U << 11;
    constexpr uint64_t kWriteBack = 6;
    return {{kMiscEnable, 0, kFastStrings}, {kMtrrDefType, 0, kMtrrsOn | kWriteBack}};
  }

  // LINT0 takes the PICs' interrupt, LINT1 the NMI (MultiProcessor Specification 1.4 §3.6.2.1).
  static void SetUpApic(Vcpu* vcpu) {
    constexpr size_t kLint0 = 0x350;
    constexpr size_t kLint1 = 0x360;
    constexpr uint32_t kExtInt = 7U << 8;
    constexpr uint32_t kNmi = 4U << 8;
    kvm_lapic_state lapic = vcpu->GetLapic();
    const auto set = [&lapic](size_t offset, uint32_t value) {
      std::memcpy(lapic.regs + offset, &value, sizeof(value));
    };
    set(kLint0, kExtInt);
    set(kLint1, kNmi);
    vcpu->SetLapic(lapic);
  }

  void OnPowerOff() {
    const bool asked = shutdown_requested_.load(std::memory_order_relaxed);
    parts_.run.Exit({asked ? ExitKind::kShutdown : ExitKind::kGuestHalt, 0,
                     asked ? "the guest shut down as requested" : "the guest powered off"});
  }
  void OnReset() { parts_.run.Exit({ExitKind::kReboot, exit_code::kReboot, "the guest rebooted"}); }
  void OnPanic() { parts_.run.Exit({ExitKind::kPanic, exit_code::kPanic, "the guest's kernel panicked"}); }
  void OnDebugExit(uint32_t value) {
    parts_.run.Exit({ExitKind::kGuestHalt, DebugExit::StatusFor(value),
                     value == 0 ? "the guest halted" : "the guest ended with code " + std::to_string(value)});
  }

  const PlatformParts parts_;
  const bool software_kvm_ = IsSoftwareKvm(parts_.host);
  PcInterrupts interrupts_;
  Serial serial_;
  AcpiPower power_;
  I8042 keyboard_;
  PanicPort panic_;
  Rtc rtc_;
  PitChannel2 pit_;
  DebugExit debug_exit_;
  KvmDoorbellHost doorbells_;
  PciBus pci_;
  PciCards cards_;
  faultline::ConsoleInput* virtio_console_ = nullptr;  // a part of a function on pci_
  std::atomic<bool> shutdown_requested_{false};
};

}  // namespace

std::unique_ptr<Platform> MakePcPlatform(const PlatformParts& parts) { return std::make_unique<PcPlatform>(parts); }

}  // namespace faultline
