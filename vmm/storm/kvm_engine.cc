// A real VM: the built-in guest's storm payload on KVM's vCPUs.
#include <x86intrin.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "guestmem/clock.h"
#include "guestmem/error.h"
#include "guestmem/fault_stats.h"
#include "guestmem/mutex.h"
#include "vmm/builtin_guest/abi.h"
#include "vmm/builtin_guest/loader.h"
#include "vmm/kvm/memslots.h"
#include "vmm/kvm/system.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/kvm/vcpu_thread.h"
#include "vmm/kvm/vm.h"
#include "vmm/storm/engine.h"

namespace faultline {
namespace {

constexpr std::chrono::microseconds kIdleSleep{200};
constexpr std::chrono::milliseconds kStopPoll{1};
constexpr std::byte kOnesByte{0xff};

class KvmEngine final : public StormEngine, private ExitHandler {
 public:
  KvmEngine(Host& host, const StormPlan& plan)
      : plan_(plan), system_(host), vm_(system_), slots_(vm_), unplugged_(plan.vcpus) {
    slots_.SetVcpuHold({[this] {
                          for (const auto& vcpu : vcpus_) vcpu->Hold();
                        },
                        [this] {
                          for (const auto& vcpu : vcpus_) vcpu->Release();
                        }});
  }
  // Before the vCPUs go that it would hold.
  ~KvmEngine() override { slots_.ClearVcpuHold(); }

  RegionListener& listener() override { return slots_; }
  storm_abi::Block* Prepare(GuestMemory& memory) override;
  void Start() override {
    started_ns_ = NowNs();
    started_ticks_ = __rdtsc();
    for (auto& vcpu : vcpus_) {
      vcpu->Start();
      started_ = true;
    }
  }
  bool Stop(std::chrono::steady_clock::time_point deadline) override;
  void Release(GuestMemory& memory) override { memory.Unplug(boot_); }

  Bytes mapped_bytes() const override { return slots_.mapped_bytes(); }
  uint64_t unplugged_accesses() const override {
    uint64_t sum = 0;
    for (const Counter& counter : unplugged_) sum += counter.count.value();
    return sum;
  }
  // The guest reads the host's time stamp counter, or one that runs at the same rate.
  double ticks_per_second() const override {
    const auto ns = static_cast<double>(NowNs() - started_ns_);
    return ns > 0 ? static_cast<double>(__rdtsc() - started_ticks_) * 1e9 / ns : 0;
  }
  std::string failure() const override {
    MutexLock lock(mutex_);
    return failure_;
  }

 private:
  struct alignas(64) Counter {
    OwnedCounter count;
  };

  // ExitHandler
  VcpuAction OnPortIo(Vcpu& vcpu, uint16_t port, std::span<std::byte> data, bool write) override;
  VcpuAction OnMmio(Vcpu& vcpu, Gpa gpa, std::span<std::byte> data, bool write) override;
  void OnTrouble(Vcpu& vcpu, VcpuTrouble trouble, const std::string& sentence) override;

  const StormPlan plan_;
  KvmSystem system_;
  KvmVm vm_;
  MemslotTable slots_;
  RegionId boot_;
  std::vector<Counter> unplugged_;
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;
  bool started_ = false;
  uint64_t started_ns_ = 0;
  uint64_t started_ticks_ = 0;

  mutable Mutex mutex_;
  std::string failure_ GUARDED_BY(mutex_);
};

storm_abi::Block* KvmEngine::Prepare(GuestMemory& memory) {
  static_assert(storm_abi::kStormBlockGpa >= guest::kReservedEnd);
  const GpaRange boot{Gpa(0), Bytes(storm_abi::kStormBlockGpa) + plan_.block_size};
  RegionSpec spec;
  spec.name = "boot";
  spec.gpa = boot;
  boot_ = memory.Plug(spec);

  BuiltinGuestConfig config;
  config.cpus = plan_.vcpus;
  config.boot_ram = {boot};
  config.hotplug_window = plan_.window;
  config.mode = BuiltinGuestMode::kStorm;
  const std::vector<CpuEntry> entries = LoadBuiltinGuest(memory, config);
  for (unsigned i = 0; i < plan_.vcpus; ++i) {
    auto vcpu = std::make_unique<Vcpu>(vm_, i);
    vcpu->SetUserModeEntry(entries[i]);
    vcpus_.push_back(std::make_unique<VcpuThread>(std::move(vcpu), static_cast<ExitHandler&>(*this), slots_));
  }

  // Boot memory goes only with Release, so its place stays valid without the pin.
  AccessResult why{};
  const Pin pin =
      memory.PinRange({Gpa(storm_abi::kStormBlockGpa), plan_.block_size}, /*for_write=*/true, "storm", &why);
  if (!pin) throw Error("the host has no memory for the storm's write log: take fewer vCPUs or smaller regions");
  return reinterpret_cast<storm_abi::Block*>(pin.bytes().data());
}

bool KvmEngine::Stop(std::chrono::steady_clock::time_point deadline) {
  if (!started_) return true;
  for (;;) {
    if (std::all_of(vcpus_.begin(), vcpus_.end(), [](const auto& vcpu) { return vcpu->finished(); })) return true;
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(kStopPoll);
  }
}

// The idle port is the guest's only device here: reading gives the processor away for a moment, writing
// ends the vCPU.
VcpuAction KvmEngine::OnPortIo(Vcpu& vcpu, uint16_t port, std::span<std::byte> data, bool write) {
  if (port == guest::kIdlePort) {
    if (write) return VcpuAction::kFinish;
    std::this_thread::sleep_for(kIdleSleep);
    std::fill(data.begin(), data.end(), std::byte{0});
    return VcpuAction::kContinue;
  }
  if (port == guest::kDebugExitPort && write) {
    OnTrouble(vcpu, VcpuTrouble::kUnknownExit,
              "the storm's guest gave up on vCPU " + std::to_string(vcpu.index()) + ": this is a bug in faultline");
    return VcpuAction::kFinish;
  }
  if (!write) std::fill(data.begin(), data.end(), kOnesByte);
  return VcpuAction::kContinue;
}

VcpuAction KvmEngine::OnMmio(Vcpu& vcpu, Gpa /*gpa*/, std::span<std::byte> data, bool write) {
  unplugged_[vcpu.index()].count.Add(1);
  if (!write) std::fill(data.begin(), data.end(), kOnesByte);
  return VcpuAction::kContinue;
}

void KvmEngine::OnTrouble(Vcpu& /*vcpu*/, VcpuTrouble /*trouble*/, const std::string& sentence) {
  MutexLock lock(mutex_);
  if (failure_.empty()) failure_ = sentence;
}

}  // namespace

std::unique_ptr<StormEngine> MakeKvmEngine(Host& host, const StormPlan& plan) {
  return std::make_unique<KvmEngine>(host, plan);
}

}  // namespace faultline
