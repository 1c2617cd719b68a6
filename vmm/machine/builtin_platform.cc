// The machine of the built-in guest.
#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "devices/bus.h"
#include "devices/debug_exit.h"
#include "devices/idle_port.h"
#include "devices/memory_hotplug.h"
#include "devices/msi.h"
#include "devices/serial.h"
#include "guestmem/error.h"
#include "vmm/builtin_guest/loader.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/kvm/vcpu_thread.h"
#include "vmm/machine/config.h"
#include "vmm/machine/elastic_memory.h"
#include "vmm/machine/platform.h"
#include "vmm/machine/run_control.h"
#include "vmm/machine/saved_state.h"

namespace faultline {
namespace {

// A guest whose memory ends below runs without CPUID, on 2 MiB pages.
constexpr Gpa kSmallGuestEnd{(16_GiB).value};

class NoInterrupts final : public MsiHost {
 public:
  std::unique_ptr<MsiVector> NewVector() override { throw Error("the built-in guest takes no interrupts"); }
  void Send(const MsiMessage& /*message*/) noexcept override {}
};

class BuiltinPlatform final : public Platform {
 public:
  explicit BuiltinPlatform(const PlatformParts& parts)
      : parts_(parts), serial_(parts.console), debug_exit_([this](uint32_t value) { OnDebugExit(value); }) {}

  void Load() override {
    parts_.ports.Attach(Serial::kCom1Port, Serial::kPortCount, serial_);
    parts_.ports.Attach(DebugExit::kPort, DebugExit::kPortCount, debug_exit_);
    parts_.ports.Attach(IdlePort::kPort, IdlePort::kPortCount, parts_.idle);
    parts_.ports.Attach(MemoryHotplug::kPort, MemoryHotplug::kPortCount, parts_.hotplug);
    cards_ = MakeElasticCards(parts_.config, parts_.layout,
                              {.memory = parts_.memory, .msi = interrupts_, .host = parts_.host}, &parts_.elastic);
    AddVcpus();
  }

  void RequestShutdown() override {
    shutdown_requested_.store(true, std::memory_order_relaxed);
    if (!RequestBuiltinGuestShutdown(parts_.memory)) {
      throw Error("the guest's memory could not be reached to ask it to shut down: use `faultline kill`");
    }
    parts_.idle.Notify();
  }

  size_t ConsoleInput(std::span<const std::byte> data) override {
    const size_t taken = serial_.QueueInput(data);
    if (taken > 0) parts_.idle.Notify();
    return taken;
  }

  size_t VirtioConsoleInput(std::span<const std::byte> data) override { return data.size(); }
  void PlugCard(const Card& /*card*/) override {
    throw UsageError("the built-in guest has no PCI: give the VM a kernel to plug disks and network cards");
  }
  void UnplugCard(const std::string& /*id*/) override {
    throw UsageError("the built-in guest has no PCI, and no disks and network cards to unplug");
  }
  DeviceConfig Devices() const override { return parts_.config.devices; }
  void OnMemoryEvent() override { parts_.idle.Notify(); }
  void OnEndOfInterrupt(uint8_t /*vector*/) override {}

  nlohmann::json SaveState() override {
    return {{"serial", ToJson(serial_.SaveState())},
            {"shutdown-requested", shutdown_requested_.load(std::memory_order_relaxed)}};
  }
  void RestoreState(const nlohmann::json& state) override {
    serial_.RestoreState(SerialStateFrom(state.at("serial")));
    shutdown_requested_.store(state.at("shutdown-requested").get<bool>(), std::memory_order_relaxed);
  }

 private:
  void AddVcpus() {
    const MemoryLayout& layout = parts_.layout;
    BuiltinGuestConfig guest;
    guest.cpus = parts_.config.cpus;
    guest.boot_ram.push_back(layout.low);
    if (layout.high.size.value != 0) guest.boot_ram.push_back(layout.high);
    guest.hotplug_window = layout.window;
    guest.hotplug_slots = parts_.config.memory.slots;
    // Asking for the CPU's features takes longer than the page tables of a few GiB do.
    const bool small = std::max(layout.high.end(), layout.window.end()) <= kSmallGuestEnd;
    guest.gib_pages = !small && parts_.vm.system().HasGibPages();
    const VcpuFeatures features = small ? VcpuFeatures::kNone : VcpuFeatures::kSupported;
    std::vector<CpuEntry> entries;
    if (!parts_.config.incoming) entries = LoadBuiltinGuest(parts_.memory, guest);
    for (unsigned i = 0; i < parts_.config.cpus; ++i) {
      auto vcpu = std::make_unique<Vcpu>(parts_.vm, i, features);
      if (!parts_.config.incoming) vcpu->SetUserModeEntry(entries[i]);
      parts_.run.AddVcpu(std::make_unique<VcpuThread>(std::move(vcpu), parts_.exits, parts_.slots));
    }
  }

  void OnDebugExit(uint32_t value) {
    ExitStatus status;
    status.code = DebugExit::StatusFor(value);
    const bool asked = shutdown_requested_.load(std::memory_order_relaxed);
    status.kind = asked && value == 0 ? ExitKind::kShutdown : ExitKind::kGuestHalt;
    if (value != 0) {
      status.sentence = "the guest ended with code " + std::to_string(value);
    } else {
      status.sentence = asked ? "the guest shut down as requested" : "the guest halted";
    }
    parts_.run.Exit(std::move(status));
  }

  const PlatformParts parts_;
  Serial serial_;
  DebugExit debug_exit_;
  // On no bus, since nobody in the guest would look there: they take requests, as devices without a driver do.
  NoInterrupts interrupts_;
  std::vector<ElasticCard> cards_;
  std::atomic<bool> shutdown_requested_{false};
};

}  // namespace

std::unique_ptr<Platform> MakeBuiltinPlatform(const PlatformParts& parts) {
  return std::make_unique<BuiltinPlatform>(parts);
}

}  // namespace faultline
