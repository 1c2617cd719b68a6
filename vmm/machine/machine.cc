#include "vmm/machine/machine.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "devices/bus.h"
#include "devices/idle_port.h"
#include "guestmem/error.h"
#include "guestmem/guest_memory.h"
#include "vmm/kvm/memslots.h"
#include "vmm/kvm/system.h"
#include "vmm/kvm/vcpu_thread.h"
#include "vmm/kvm/vm.h"
#include "vmm/machine/elastic_memory.h"
#include "vmm/machine/guest_exits.h"
#include "vmm/machine/platform.h"
#include "vmm/machine/plugged_memory.h"
#include "vmm/machine/run_control.h"
#include "vmm/machine/saved_state.h"
#include "vmm/machine/unplugged_accesses.h"

namespace faultline {
namespace {

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
        vm_(system_, config_.irq_chip()),
        slots_(vm_),
        memory_(host, slots_, MemoryOptions(config_)),
        run_(idle_, sink_),
        devices_(
            memory_, config_.memory, layout_, [this] { platform_->OnMemoryEvent(); }, sink_),
        unplugged_(
            config_.on_unplugged_access, [this](const UnpluggedAccessEvent& event) { Emit(event); },
            [this](const std::string& sentence) { run_.RequestPause(PauseReason::kUnpluggedAccess, sentence); }),
        assist_(memory_),
        exits_({ports_, mmio_, memory_, unplugged_, run_, assist_,
                [this](uint8_t vector) { platform_->OnEndOfInterrupt(vector); }}) {
    PlugBootMemory();
    elastic_.on_plugged = [this](const std::string& id, Bytes plugged) { Emit(VirtioMemSizeEvent{id, plugged}); };
    elastic_.on_held = [this](Bytes held) { Emit(BalloonEvent{DimmsAndBoot() - std::min(held, DimmsAndBoot())}); };
    platform_ = MakePlatform();
    platform_->Load();
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
    platform_->RequestShutdown();
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
    for (const VirtioMem* mem : elastic_.mems) {
      status.plugged_memory += mem->state().plugged;
      status.max_memory += mem->config().region.size;
    }
    status.present_memory = memory_.present_bytes();
    const auto entries = slots_.Entries();
    status.memslots = static_cast<unsigned>(entries.size());
    for (const auto& entry : entries) status.memslot_bytes += entry.gpa.size;
    status.faults = memory_.fault_totals();
    status.tables = memory_.table_totals();
    status.unplugged_accesses = unplugged_.count();
    for (size_t i = 0; i < kAssistKinds; ++i) {
      const auto kind = static_cast<AssistKind>(i);
      if (const uint64_t count = assist_.count(kind); count != 0) status.assists.emplace_back(ToString(kind), count);
    }
    for (const VcpuThread* vcpu : run_.vcpus()) status.vcpus.push_back({vcpu->index(), vcpu->thread_id()});
    return status;
  }

  std::vector<VirtioMemInfo> VirtioMemDevices() const {
    std::vector<VirtioMemInfo> list;
    const std::vector<RegionInfo> regions = memory_.Regions();
    for (const VirtioMem* mem : elastic_.mems) {
      const VirtioMemConfig& device = mem->config();
      VirtioMemInfo info{device.id, device.region, device.block, device.backing, mem->state(), Bytes(0)};
      for (const RegionInfo& region : regions) {
        if (device.region.Contains(region.gpa)) info.present += region.present;
      }
      list.push_back(std::move(info));
    }
    return list;
  }

  std::vector<MemoryMapInfo> MemoryMaps(size_t cells) const {
    std::vector<MemoryMapInfo> maps;
    const auto add = [&](const std::string& id, GpaRange gpa) {
      maps.push_back({id, gpa, memory_.Residency(gpa, cells)});
    };
    add(kBootRegion, layout_.low);
    if (layout_.high.size != Bytes(0)) add(kHighBootRegion, layout_.high);
    for (const MemoryDeviceInfo& device : devices_.List()) add(device.id, device.gpa);
    for (const VirtioMem* mem : elastic_.mems) add(mem->config().id, mem->config().region);
    return maps;
  }

  void ResizeVirtioMem(const std::string& id, Bytes requested) {
    VirtioMem* const mem = elastic_.Find(id);
    if (mem == nullptr) throw UsageError("there is no virtio-mem device '" + id + "': see `faultline memory list`");
    if (run_.state() == RunState::kExited) throw UsageError("the VM has ended: its memory cannot be changed any more");
    mem->Resize(requested);
  }

  Balloon* balloon() { return elastic_.balloon; }

  Platform& platform() { return *platform_; }
  size_t ConsoleInput(std::span<const std::byte> data) { return platform_->ConsoleInput(data); }
  size_t VirtioConsoleInput(std::span<const std::byte> data) { return platform_->VirtioConsoleInput(data); }

  nlohmann::json SaveState() {
    WaitUntilStill();
    nlohmann::json vcpus = nlohmann::json::array();
    for (VcpuThread* vcpu : run_.vcpus()) vcpus.push_back(ToJson(CaptureVcpuState(vcpu->vcpu())));
    return {{"config", ToJson(config_)},
            {"memory", devices_.SaveState()},
            {"platform", platform_->SaveState()},
            {"vcpus", std::move(vcpus)}};
  }

  void RestoreState(const nlohmann::json& state) {
    if (!config_.incoming || run_.state() != RunState::kPrelaunch) {
      throw UsageError("only a VM that was made to be restored and has not run can be restored into");
    }
    run_.Pause();
    try {
      CheckSameConfig(config_, state.at("config"));
      const nlohmann::json& vcpus = state.at("vcpus");
      if (vcpus.size() != config_.cpus) throw Error("the saved VM has lost vCPUs: it is damaged; save it again");
      devices_.RestoreState(state.at("memory"));
      platform_->RestoreState(state.at("platform"));
      for (VcpuThread* vcpu : run_.vcpus()) {
        RestoreVcpuState(vcpu->vcpu(), VcpuStateFrom(vcpus.at(vcpu->index())));
      }
    } catch (const nlohmann::json::exception& e) {
      throw Error(std::string("the saved VM is damaged, or of another version of this program (") + e.what() +
                  "): save it again");
    }
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

  // What a balloon inflates in: the memory that is there but for virtio-mem.
  Bytes DimmsAndBoot() const {
    Bytes sum = config_.memory.boot;
    for (const MemoryDeviceInfo& device : devices_.List()) sum += device.gpa.size;
    return sum;
  }

  // Returns when no vCPU runs and none will until it is resumed.
  void WaitUntilStill() {
    const RunState state = run_.state();
    if (state != RunState::kPaused && state != RunState::kPrelaunch) {
      throw UsageError("a VM is saved while it is paused: pause it first");
    }
    if (const auto reason = run_.pause_reason(); reason && *reason != PauseReason::kRequested) {
      throw UsageError("the VM is paused in the middle of an access to memory (" + std::string(ToString(*reason)) +
                       "): resume it, then save it");
    }
    run_.Pause();
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

  std::unique_ptr<Platform> MakePlatform() {
    const PlatformParts parts{system_.host(),
                              config_,
                              layout_,
                              vm_,
                              slots_,
                              memory_,
                              ports_,
                              mmio_,
                              idle_,
                              devices_.registers(),
                              run_,
                              exits_,
                              elastic_,
                              [this](std::span<const std::byte> data) { WriteConsole(data); },
                              [this](const MachineEvent& event) { Emit(event); }};
    return config_.boot.kernel.empty() ? MakeBuiltinPlatform(parts) : MakePcPlatform(parts);
  }

  void WriteConsole(std::span<const std::byte> data) {
    if (!config_.console_output) return;
    MutexLock lock(console_mutex_);
    config_.console_output(data);
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
  Bus ports_;
  Bus mmio_;
  RunControl run_;
  PluggedMemory devices_;
  UnpluggedAccesses unplugged_;
  InstructionAssist assist_;
  GuestExits exits_;
  ElasticMemory elastic_;
  std::unique_ptr<Platform> platform_;
};

Machine::Machine(Host& host, const MachineConfig& config, MachineEventSink sink)
    : impl_(std::make_unique<Impl>(host, config, std::move(sink))) {}
Machine::~Machine() = default;

const MachineConfig& Machine::config() const { return impl_->config(); }
void Machine::Start() { impl_->run().Start(impl_->config().start_paused || impl_->config().incoming); }
void Machine::Pause() { impl_->run().Pause(); }
void Machine::Resume() { impl_->Resume(); }
void Machine::RequestShutdown() { impl_->RequestShutdown(); }
void Machine::Stop() { impl_->Stop(); }
ExitStatus Machine::WaitForExit() { return impl_->WaitForExit(); }
MemoryDeviceInfo Machine::PlugMemory(const PlugRequest& request) { return impl_->devices().Plug(request); }
uint64_t Machine::UnplugMemory(const UnplugRequest& request, UnplugDone done) {
  return impl_->devices().Unplug(request, std::move(done));
}
std::vector<UnplugOperationInfo> Machine::MemoryOperations() const { return impl_->devices().Operations(); }
void Machine::CancelUnplug(uint64_t operation) { impl_->devices().CancelUnplug(operation); }
std::vector<MemoryDeviceInfo> Machine::MemoryDevices() const { return impl_->devices().List(); }
std::vector<VirtioMemInfo> Machine::VirtioMemDevices() const { return impl_->VirtioMemDevices(); }
std::vector<MemoryMapInfo> Machine::MemoryMaps(size_t cells) const { return impl_->MemoryMaps(cells); }
void Machine::ResizeVirtioMem(const std::string& id, Bytes requested) { impl_->ResizeVirtioMem(id, requested); }
Balloon* Machine::balloon() { return impl_->balloon(); }
void Machine::PlugCard(const Card& card) { impl_->platform().PlugCard(card); }
void Machine::UnplugCard(const std::string& id) { impl_->platform().UnplugCard(id); }
DeviceConfig Machine::Devices() const { return impl_->platform().Devices(); }
MachineStatus Machine::Status() const { return impl_->Status(); }
nlohmann::json Machine::SaveState() { return impl_->SaveState(); }
void Machine::RestoreState(const nlohmann::json& state) { impl_->RestoreState(state); }
size_t Machine::ConsoleInput(std::span<const std::byte> data) { return impl_->ConsoleInput(data); }
size_t Machine::VirtioConsoleInput(std::span<const std::byte> data) { return impl_->VirtioConsoleInput(data); }
GuestMemory& Machine::memory() { return impl_->memory(); }
MemslotTable& Machine::memslots() { return impl_->slots(); }

}  // namespace faultline
