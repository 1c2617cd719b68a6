// Host threads as vCPUs. An access goes through process_vm_readv or process_vm_writev on this very process:
// the kernel then reaches the memory as KVM does (get_user_pages), so it blocks in userfaults, and fails with
// EFAULT where memory was revoked instead of killing the process. Sanitizers see no access to guest memory.
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include "guestmem/clock.h"
#include "guestmem/error.h"
#include "guestmem/mutex.h"
#include "vmm/builtin_guest/storm_worker.h"
#include "vmm/storm/engine.h"
#include "vmm/storm/soft_slots.h"

namespace faultline {
namespace {

constexpr unsigned kUnexplainedFaultsAllowed = 10;
constexpr std::chrono::milliseconds kRevocationPatience{100};
constexpr std::chrono::microseconds kIdleSleep{200};

class ThreadsEngine final : public StormEngine {
 public:
  explicit ThreadsEngine(const StormPlan& plan) : plan_(plan), slots_(plan), vcpus_(plan.vcpus) {}
  ~ThreadsEngine() override {
    for (Thread& vcpu : vcpus_) {
      if (vcpu.thread.joinable()) vcpu.thread.join();
    }
    if (block_ != nullptr) munmap(block_, plan_.block_size.value);
  }

  RegionListener& listener() override { return slots_; }
  storm_abi::Block* Prepare(GuestMemory& /*memory*/) override {
    void* area = mmap(nullptr, plan_.block_size.value, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED) throw Error("no memory for the storm's write log: take fewer vCPUs or smaller regions");
    block_ = static_cast<storm_abi::Block*>(area);
    return block_;
  }
  void Start() override {
    for (unsigned i = 0; i < plan_.vcpus; ++i) {
      try {
        vcpus_[i].thread = std::thread([this, i] { RunVcpu(i); });
      } catch (const std::system_error& e) {
        throw Error("the host gave no thread for vCPU " + std::to_string(i) + " (" + ErrnoText(e.code().value()) +
                    "): raise the limit on processes (ulimit -u) or ask for fewer vCPUs");
      }
      running_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  bool Stop(std::chrono::steady_clock::time_point deadline) override {
    MutexLock lock(mutex_);
    while (running_.load(std::memory_order_acquire) != 0) {
      if (!ended_.WaitUntil(mutex_, deadline)) return running_.load(std::memory_order_acquire) == 0;
    }
    return true;
  }
  void Release(GuestMemory& /*memory*/) override {}

  Bytes mapped_bytes() const override { return slots_.mapped_bytes(); }
  uint64_t unplugged_accesses() const override {
    uint64_t sum = 0;
    for (const Thread& vcpu : vcpus_) sum += vcpu.unplugged.value();
    return sum;
  }
  double ticks_per_second() const override { return 1e9; }
  std::string failure() const override {
    MutexLock lock(mutex_);
    return failure_;
  }

 private:
  struct alignas(64) Thread {
    OwnedCounter unplugged;
    std::thread thread;
  };

  // How a StormWorker of vCPU `index` reaches memory.
  class Access {
   public:
    Access(ThreadsEngine& engine, unsigned index) : engine_(&engine), index_(index) {}

    uint64_t Load(uint64_t gpa) {
      uint64_t value = storm_abi::kOnes;
      Reach(gpa, &value, SYS_process_vm_readv);
      return value;
    }
    void Store(uint64_t gpa, uint64_t value) { Reach(gpa, &value, SYS_process_vm_writev); }
    // A system call that copied is behind us, and nothing is pending in a store buffer that another thread's
    // unplug does not wait for (SoftSlots::Leave is sequentially consistent).
    void Fence() {}
    uint64_t Ticks() { return NowNs(); }
    void Idle() { std::this_thread::sleep_for(kIdleSleep); }

   private:
    void Reach(uint64_t gpa, uint64_t* value, long call);

    ThreadsEngine* engine_;
    unsigned index_;
  };

  void RunVcpu(unsigned index) {
    pthread_setname_np(pthread_self(), ("vcpu" + std::to_string(index)).c_str());
    Access access(*this, index);
    storm_abi::StormWorker<Access>(block_, index, access).Run();
    MutexLock lock(mutex_);
    running_.fetch_sub(1, std::memory_order_release);
    ended_.NotifyAll();
  }

  void Fail(std::string sentence) {
    MutexLock lock(mutex_);
    if (failure_.empty()) failure_ = std::move(sentence);
  }

  const StormPlan plan_;
  SoftSlots slots_;
  storm_abi::Block* block_ = nullptr;
  std::vector<Thread> vcpus_;
  std::atomic<unsigned> running_{0};

  mutable Mutex mutex_;
  CondVar ended_;
  std::string failure_ GUARDED_BY(mutex_);
};

// The vCPU loop's treatment of one access: as KVM_RUN's exits would have it.
void ThreadsEngine::Access::Reach(uint64_t gpa, uint64_t* value, long call) {
  SoftSlots& slots = engine_->slots_;
  const StormPlan& plan = engine_->plan_;
  const unsigned slot = plan.SlotOf(Gpa(gpa));
  const Bytes offset = Gpa(gpa) - plan.SlotRange(slot).start;
  for (unsigned unexplained = 0; unexplained < kUnexplainedFaultsAllowed;) {
    const uint64_t generation = slots.generation(slot);
    const uint64_t hva = slots.Enter(index_, slot);
    if (hva == 0) {
      slots.Leave(index_);
      engine_->vcpus_[index_].unplugged.Add(1);
      return;
    }
    iovec local{value, sizeof *value};
    iovec remote{ToPointer(Hva(hva) + offset), sizeof *value};
    const long copied = syscall(call, getpid(), &local, 1UL, &remote, 1UL, 0UL);
    const int error = errno;
    slots.Leave(index_);
    if (copied == static_cast<long>(sizeof *value)) return;
    if (copied < 0 && error != EFAULT) {
      engine_->Fail(std::string("this host does not let a process reach its own memory by system call (") +
                    ErrnoText(error) + "): allow process_vm_readv and process_vm_writev, or use --engine kvm");
      return;
    }
    if (!slots.WaitForChange(slot, generation, kRevocationPatience)) ++unexplained;
  }
  engine_->Fail("vCPU " + std::to_string(index_) +
                " met inaccessible memory again and again with nothing being unplugged: this is a bug in faultline");
}

}  // namespace

std::unique_ptr<StormEngine> MakeThreadsEngine(const StormPlan& plan) { return std::make_unique<ThreadsEngine>(plan); }

}  // namespace faultline
