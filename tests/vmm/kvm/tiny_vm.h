// A VM with one vCPU and a few instructions of guest code: enough to make KVM exit in a chosen way.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "guestmem/mutex.h"
#include "vmm/builtin_guest/loader.h"
#include "vmm/kvm/memslots.h"
#include "vmm/kvm/system.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/kvm/vcpu_thread.h"
#include "vmm/kvm/vm.h"

// Position-independent 64-bit code that runs at CPL 3 with rdi = TinyVm::kArgument and a stack.
#define GUEST_CODE(name, text)                                                            \
  asm(".pushsection .rodata\n" #name "_begin:\n" text "\n" #name "_end:\n.popsection\n"); \
  extern "C" const char name##_begin[], name##_end[];                                     \
  inline std::string name() { return {name##_begin, name##_end}; }

#define SKIP_WITHOUT_KVM() \
  if (access("/dev/kvm", R_OK | W_OK) != 0) GTEST_SKIP() << "/dev/kvm: " << strerror(errno)

namespace faultline {

// Records what the guest does; each hook may be replaced.
class RecordingHandler : public ExitHandler {
 public:
  struct Access {
    uint64_t address;
    uint64_t value;  // written; of a read, what was there before the hook answered
    size_t size;
    bool write;
  };
  using Hook = std::function<VcpuAction(Vcpu&, uint64_t address, std::span<std::byte> data, bool write)>;

  Hook on_io, on_mmio;

  VcpuAction OnPortIo(Vcpu& vcpu, uint16_t port, std::span<std::byte> data, bool write) override {
    Record(&ios_, port, data, write);
    return on_io ? on_io(vcpu, port, data, write) : VcpuAction::kContinue;
  }
  VcpuAction OnMmio(Vcpu& vcpu, Gpa gpa, std::span<std::byte> data, bool write) override {
    Record(&mmios_, gpa.value, data, write);
    return on_mmio ? on_mmio(vcpu, gpa.value, data, write) : VcpuAction::kContinue;
  }
  void OnTrouble(Vcpu& /*vcpu*/, VcpuTrouble trouble, const std::string& sentence) override {
    MutexLock lock(mutex_);
    troubles_.emplace_back(trouble, sentence);
  }

  std::vector<Access> ios() const {
    MutexLock lock(mutex_);
    return ios_;
  }
  std::vector<Access> mmios() const {
    MutexLock lock(mutex_);
    return mmios_;
  }
  std::vector<std::pair<VcpuTrouble, std::string>> troubles() const {
    MutexLock lock(mutex_);
    return troubles_;
  }

 private:
  void Record(std::vector<Access>* list, uint64_t address, std::span<std::byte> data, bool write) {
    uint64_t value = 0;
    memcpy(&value, data.data(), std::min(data.size(), sizeof(value)));
    MutexLock lock(mutex_);
    list->push_back({address, value, data.size(), write});
  }

  mutable Mutex mutex_;
  std::vector<Access> ios_ GUARDED_BY(mutex_);
  std::vector<Access> mmios_ GUARDED_BY(mutex_);
  std::vector<std::pair<VcpuTrouble, std::string>> troubles_ GUARDED_BY(mutex_);
};

// Host memory for a slot.
class HostMemory {
 public:
  explicit HostMemory(Bytes size, int prot = PROT_READ | PROT_WRITE)
      : range_{ToHva(mmap(nullptr, size.value, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)), size} {}
  ~HostMemory() { munmap(ToPointer(range_.start), range_.size.value); }
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;
  HvaRange range() const { return range_; }

 private:
  HvaRange range_;
};

// Guest-physical memory: 2 MiB from 0 hold code, stack and page tables; the first 4 GiB are mapped one to one.
class TinyVm {
 public:
  static constexpr uint64_t kCode = 0x10000;
  static constexpr uint64_t kStackTop = 0x80000;
  static constexpr uint64_t kCounter = 0x90000;    // for guest code to count in
  static constexpr uint64_t kSecond = 0x40000000;  // 1 GiB: no memory unless a test maps some
  static constexpr uint64_t kArgument = kSecond;

  TinyVm(const std::string& code, RecordingHandler& handler, Host& host = Host::System())
      : system(host), vm(system), slots(vm), low_(2_MiB) {
    BuildPageTables();
    PermitPorts();
    memcpy(At(kCode), code.data(), code.size());
    slots.OnPlug(View(1, "low", Gpa(0), low_.range()));
    auto vcpu = std::make_unique<Vcpu>(vm, 0);
    vcpu->SetUserModeEntry({.rip = kCode,
                            .rsp = kStackTop,
                            .rdi = kArgument,
                            .cr3 = kPageTables,
                            .tss_base = kTss,
                            .tss_limit = kTssSize - 1});
    thread = std::make_unique<VcpuThread>(std::move(vcpu), handler, slots);
  }

  static RegionView View(uint64_t id, std::string_view name, Gpa gpa, HvaRange hva) {
    return {RegionId{id}, name, {gpa, hva.size}, hva};
  }

  std::byte* At(uint64_t gpa) { return ToPointer(low_.range().start) + gpa; }
  uint64_t Counter() { return __atomic_load_n(reinterpret_cast<uint64_t*>(At(kCounter)), __ATOMIC_SEQ_CST); }

  KvmSystem system;
  KvmVm vm;
  MemslotTable slots;

 private:
  static constexpr uint64_t kPageTables = 0x100000;
  static constexpr uint64_t kTss = 0;
  static constexpr uint32_t kTssSize = 0x1000;

  // A task state segment whose bitmap permits every port below 0x7000; IOPL alone does not do on software KVM.
  void PermitPorts() {
    constexpr uint16_t kBitmap = 104;
    memcpy(At(kTss + 102), &kBitmap, sizeof(kBitmap));
    *At(kTss + kTssSize - 1) = std::byte{0xff};
  }

  void BuildPageTables() {
    constexpr uint64_t kPresentWritableUser = 7;
    constexpr uint64_t kLarge = 0x80;
    auto table = [this](unsigned i) { return reinterpret_cast<uint64_t*>(At(kPageTables + 0x1000ULL * i)); };
    table(0)[0] = (kPageTables + 0x1000) | kPresentWritableUser;
    for (unsigned gib = 0; gib < 4; ++gib) {
      table(1)[gib] = (kPageTables + 0x1000ULL * (2 + gib)) | kPresentWritableUser;
      for (uint64_t i = 0; i < 512; ++i) table(2 + gib)[i] = (gib << 30 | i << 21) | kPresentWritableUser | kLarge;
    }
  }

  HostMemory low_;

 public:
  std::unique_ptr<VcpuThread> thread;  // last: ends before what it uses
};

}  // namespace faultline
