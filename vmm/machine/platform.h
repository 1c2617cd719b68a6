// What a machine is besides memory, vCPUs and their control: the devices, the way its guest is started and spoken
// to. One for each kind of guest.
//
// Owned by the machine, which makes it last and ends it first, when no vCPU runs any more. Load is called once
// before the first vCPU runs; all else is thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "vmm/machine/device_config.h"
#include "vmm/machine/events.h"

namespace faultline {

class Bus;
class ExitHandler;
class GuestMemory;
class Host;
class IdlePort;
class KvmVm;
class MemoryHotplug;
class MemslotTable;
class RunControl;
struct ElasticMemory;
struct MachineConfig;
struct MemoryLayout;

// The machine as its platform finds it: boot memory plugged, buses empty, no vCPU. All outlive the platform.
struct PlatformParts {
  Host& host;
  const MachineConfig& config;
  const MemoryLayout& layout;
  KvmVm& vm;
  MemslotTable& slots;
  GuestMemory& memory;
  Bus& ports;
  Bus& mmio;
  IdlePort& idle;
  MemoryHotplug& hotplug;
  RunControl& run;
  ExitHandler& exits;
  ElasticMemory& elastic;                                   // the platform enters the devices it has
  std::function<void(std::span<const std::byte>)> console;  // where the guest's console goes
  std::function<void(const MachineEvent&)> report;
};

class Platform {
 public:
  virtual ~Platform() = default;

  // Puts the guest into memory unless the machine is `incoming`, attaches the devices and makes the vCPUs. Throws
  // Error. Blocks for files.
  virtual void Load() = 0;

  // Asks the guest to shut down and does not wait. Throws Error when it cannot be reached.
  virtual void RequestShutdown() = 0;
  // What the user typed; how many bytes were taken (see Machine::ConsoleInput and VirtioConsoleInput).
  virtual size_t ConsoleInput(std::span<const std::byte> data) = 0;
  virtual size_t VirtioConsoleInput(std::span<const std::byte> data) = 0;
  // Puts a card into the running guest: see Machine::PlugCard. The same for the two below.
  virtual void PlugCard(const Card& card) = 0;
  virtual void UnplugCard(const std::string& id) = 0;
  virtual DeviceConfig Devices() const = 0;
  // The memory hot-plug registers have news for the guest.
  virtual void OnMemoryEvent() = 0;
  // The state of the devices, as JSON with binary strings. No vCPU runs. SaveState throws UsageError when a device
  // cannot be saved; RestoreState, before any vCPU ran, Error or nlohmann::json::exception.
  virtual nlohmann::json SaveState() = 0;
  virtual void RestoreState(const nlohmann::json& state) = 0;
  // A CPU ended its service of a level-triggered interrupt that came from outside KVM.
  virtual void OnEndOfInterrupt(uint8_t vector) = 0;
};

// The built-in guest: a serial console, the hot-plug registers and a port to idle on; no interrupts.
std::unique_ptr<Platform> MakeBuiltinPlatform(const PlatformParts& parts);
// A PC without firmware, for the kernel in `config.boot`.
std::unique_ptr<Platform> MakePcPlatform(const PlatformParts& parts);

}  // namespace faultline
