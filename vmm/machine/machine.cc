#include "vmm/machine/machine.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "devices/bus.h"
#include "devices/debug_exit.h"
#include "devices/idle_port.h"
#include "devices/serial.h"
#include "guestmem/error.h"
#include "guestmem/guest_memory.h"
#include "vmm/builtin_guest/loader.h"
#include "vmm/kvm/memslots.h"
#include "vmm/kvm/system.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/kvm/vcpu_thread.h"
#include "vmm/kvm/vm.h"
#include "vmm/machine/guest_exits.h"
#include "vmm/machine/plugged_memory.h"
#include "vmm/machine/run_control.h"
#include "vmm/machine/unplugged_accesses.h"

namespace faultline {
namespace {

// A built-in guest whose memory ends below runs without CPUID, on 2 MiB pages.
constexpr Gpa kSmallGuestEnd{(16_GiB).value};

MachineConfig Checked(const MachineConfig& config) {
  Validate(config);
  MachineConfig checked = config;
  if (checked.memory.max.value == 0) checked.memory.max = checked.memory.boot;
  return checked;
}

GuestMemoryOptions MemoryOptions(const MachineConfig& config) {
  GuestMemoryOptions options;
  options.fault_around = config.memory.fault_around;
  return options;
}

std::string FailureText(const GuestMemory::FaultFailure& failure) {
  const std::string what = failure.host ? "the host has no page for guest memory" : "the source of guest memory failed";
  return what + " (" + ErrnoText(failure.error) +
         "): " + (failure.host ? "free memory on the host" : "mend the source") + ", then resume the VM";
}

}  // namespace

// Members are in the order of their dependence: each uses only those above it, and is gone before they are.
class Machine::Impl {
 public:
  Impl(Host& host, const MachineConfig& config, MachineEventSink sink)
      : config_(Checked(config)),
        layout_(MemoryLayout::For(config_.memory)),
        sink_(std::move(sink)),
        system_(host),
        vm_(system_),
        slots_(vm_),
        memory_(host, slots_, MemoryOptions(config_)),
        serial_([this](std::span<const std::byte> data) { WriteConsole(data); }),
        debug_exit_([this](uint32_t value) { OnDebugExit(value); }),
        run_(idle_, sink_),
        devices_(memory_, config_.memory, layout_.window, idle_, sink_),
        unplugged_(
            config_.on_unplugged_access, [this](const UnpluggedAccessEvent& event) { Emit(event); },
            [this](const std::string& sentence) { run_.RequestPause(PauseReason::kUnpluggedAccess, sentence); }),
        exits_({ports_, mmio_, memory_, unplugged_, run_}) {
    PlugBootMemory();
    AttachDevices();
    AddVcpus();
    slots_.SetVcpuHold({[this] { run_.Hold(); }, [this] { run_.Release(); }});
    memory_.SetFailureHandler([this](const GuestMemory::FaultFailure& failure) {
      run_.RequestPause(PauseReason::kIoError, FailureText(failure));
    });
  }

  ~Impl() {
    run_.Exit({ExitKind::kKilled, 0, "the VM was ended"});
    run_.WaitVcpusFinished();
    memory_.SetFailureHandler(nullptr);
    devices_.Close();
    slots_.ClearVcpuHold();
    // The VM's end takes all slots at once.
    slots_.Abandon();
  }

  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void Resume() {
    run_.Resume();
    // After the state is `running`, so that a fault that fails again pauses again.
    memory_.RetryFailedFaults();
  }

  void RequestShutdown() {
    if (run_.state() == RunState::kExited) throw UsageError("the VM has ended already: nothing is left to shut down");
    shutdown_requested_.store(true, std::memory_order_relaxed);
    if (!RequestBuiltinGuestShutdown(memory_)) {
      throw Error("the guest's memory could not be reached to ask it to shut down: use `faultline kill`");
    }
    idle_.Notify();
    Emit(PowerdownEvent{});
  }

  void Stop() {
    run_.Exit({ExitKind::kKilled, 0, "the VM was killed"});
    devices_.Cancel();
    run_.WaitVcpusFinished();
  }

  ExitStatus WaitForExit() {
    ExitStatus status = run_.WaitForExit();
    devices_.Cancel();
    run_.WaitVcpusFinished();
    return status;
  }

  MachineStatus Status() const {
    MachineStatus status;
    status.state = run_.state();
    status.pause_reason = run_.pause_reason();
    status.exit = run_.exit_status();
    status.boot_memory = config_.memory.boot;
    status.max_memory = config_.memory.max;
    status.slots = config_.memory.slots;
    for (const MemoryDeviceInfo& device : devices_.List()) {
      status.plugged_memory += device.gpa.size;
      ++status.slots_used;
    }
    status.present_memory = memory_.present_bytes();
    const auto entries = slots_.Entries();
    status.memslots = static_cast<unsigned>(entries.size());
    for (const auto& entry : entries) status.memslot_bytes += entry.gpa.size;
    status.faults = memory_.fault_totals();
    status.tables = memory_.table_totals();
    status.unplugged_accesses = unplugged_.count();
    for (const VcpuThread* vcpu : run_.vcpus()) status.vcpus.push_back({vcpu->index(), vcpu->thread_id()});
    return status;
  }

  size_t ConsoleInput(std::span<const std::byte> data) {
    const size_t taken = serial_.QueueInput(data);
    if (taken > 0) idle_.Notify();
    return taken;
  }

  const MachineConfig& config() const { return config_; }
  RunControl& run() { return run_; }
  PluggedMemory& devices() { return devices_; }
  const PluggedMemory& devices() const { return devices_; }
  GuestMemory& memory() { return memory_; }
  MemslotTable& slots() { return slots_; }

 private:
  void Emit(const MachineEvent& event) const {
    if (sink_) sink_(event);
  }

  void PlugBootMemory() {
    RegionSpec spec;
    spec.name = kBootRegion;
    spec.gpa = layout_.low;
    spec.backing = config_.memory.backing;
    memory_.Plug(spec);
    if (layout_.high.size.value == 0) return;
    spec.name = kHighBootRegion;
    spec.gpa = layout_.high;
    memory_.Plug(spec);
  }

  void AttachDevices() {
    ports_.Attach(Serial::kCom1Port, Serial::kPortCount, serial_);
    ports_.Attach(DebugExit::kPort, DebugExit::kPortCount, debug_exit_);
    ports_.Attach(IdlePort::kPort, IdlePort::kPortCount, idle_);
    ports_.Attach(MemoryHotplug::kPort, MemoryHotplug::kPortCount, devices_.registers());
  }

  void AddVcpus() {
    BuiltinGuestConfig guest;
    guest.cpus = config_.cpus;
    guest.boot_ram.push_back(layout_.low);
    if (layout_.high.size.value != 0) guest.boot_ram.push_back(layout_.high);
    guest.hotplug_window = layout_.window;
    guest.hotplug_slots = config_.memory.slots;
    // Asking for the CPU's features takes longer than the page tables of a few GiB do.
    const bool small = std::max(layout_.high.end(), layout_.window.end()) <= kSmallGuestEnd;
    guest.gib_pages = !small && system_.HasGibPages();
    const VcpuFeatures features = small ? VcpuFeatures::kNone : VcpuFeatures::kSupported;
    const std::vector<CpuEntry> entries = LoadBuiltinGuest(memory_, guest);
    for (unsigned i = 0; i < config_.cpus; ++i) {
      auto vcpu = std::make_unique<Vcpu>(vm_, i, features);
      vcpu->SetUserModeEntry(entries[i]);
      run_.AddVcpu(std::make_unique<VcpuThread>(std::move(vcpu), exits_, slots_));
    }
  }

  void WriteConsole(std::span<const std::byte> data) {
    if (!config_.console_output) return;
    MutexLock lock(console_mutex_);
    config_.console_output(data);
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
    run_.Exit(std::move(status));
  }

  const MachineConfig config_;
  const MemoryLayout layout_;
  const MachineEventSink sink_;
  KvmSystem system_;
  KvmVm vm_;
  MemslotTable slots_;
  GuestMemory memory_;
  IdlePort idle_;
  RankedMutex<LockRank::kMachine> console_mutex_;  // one call of the console's sink at a time
  Serial serial_;
  DebugExit debug_exit_;
  Bus ports_;
  Bus mmio_;
  std::atomic<bool> shutdown_requested_{false};
  RunControl run_;
  PluggedMemory devices_;
  UnpluggedAccesses unplugged_;
  GuestExits exits_;
};

Machine::Machine(Host& host, const MachineConfig& config, MachineEventSink sink)
    : impl_(std::make_unique<Impl>(host, config, std::move(sink))) {}
Machine::~Machine() = default;

const MachineConfig& Machine::config() const { return impl_->config(); }
void Machine::Start() { impl_->run().Start(impl_->config().start_paused); }
void Machine::Pause() { impl_->run().Pause(); }
void Machine::Resume() { impl_->Resume(); }
void Machine::RequestShutdown() { impl_->RequestShutdown(); }
void Machine::Stop() { impl_->Stop(); }
ExitStatus Machine::WaitForExit() { return impl_->WaitForExit(); }
MemoryDeviceInfo Machine::PlugMemory(const PlugRequest& request) { return impl_->devices().Plug(request); }
void Machine::UnplugMemory(const UnplugRequest& request, UnplugDone done) {
  impl_->devices().Unplug(request, std::move(done));
}
std::vector<MemoryDeviceInfo> Machine::MemoryDevices() const { return impl_->devices().List(); }
MachineStatus Machine::Status() const { return impl_->Status(); }
size_t Machine::ConsoleInput(std::span<const std::byte> data) { return impl_->ConsoleInput(data); }
GuestMemory& Machine::memory() { return impl_->memory(); }
MemslotTable& Machine::memslots() { return impl_->slots(); }

}  // namespace faultline
