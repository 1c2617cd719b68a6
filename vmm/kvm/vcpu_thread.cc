#include "vmm/kvm/vcpu_thread.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <exception>
#include <system_error>
#include <utility>

#include "guestmem/error.h"
#include "vmm/kvm/exit_text.h"
#include "vmm/kvm/kvm_constants.h"

namespace faultline {
namespace {

// An EFAULT that no revocation explains is tried again this often, each time after waiting for one to show up.
constexpr unsigned kUnexplainedFaultsAllowed = 10;
constexpr std::chrono::milliseconds kRevocationPatience{100};

// A KVM_RUN that failed for want of host memory is tried again this often.
constexpr unsigned kTransientFailuresAllowed = 100;
constexpr std::chrono::milliseconds kTransientPause{10};

// A processor that is woken while it waits to be started takes this many wake-ups without a pause.
constexpr unsigned kWakesAllowed = 16;

// Exists to interrupt KVM_RUN: its handler does nothing, and is installed without SA_RESTART.
int KickSignal() { return SIGRTMIN + 3; }

void InstallKickHandler() {
  static const bool installed = [] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigemptyset(&action.sa_mask);
    return sigaction(KickSignal(), &action, nullptr) == 0;
  }();
  static_cast<void>(installed);
}

void UnblockKickSignal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, KickSignal());
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace

VcpuThread::VcpuThread(std::unique_ptr<Vcpu> vcpu, ExitHandler& handler, MemslotTable& slots)
    : vcpu_(std::move(vcpu)), handler_(&handler), slots_(&slots) {
  InstallKickHandler();
}

VcpuThread::~VcpuThread() {
  RequestStop();
  if (thread_.joinable()) thread_.join();
}

void VcpuThread::Start(bool paused) {
  MutexLock lock(mutex_);
  pause_wanted_ = paused;
  asked_.store(paused, std::memory_order_release);
  try {
    thread_ = std::thread([this] { Main(); });
  } catch (const std::system_error& e) {
    throw Error("the host gave no thread for vCPU " + std::to_string(index()) + " (" + ErrnoText(e.code().value()) +
                "): raise the limit on processes (ulimit -u) or ask for fewer CPUs");
  }
  state_ = State::kRunning;
}

void VcpuThread::KickLocked() noexcept {
  asked_.store(true, std::memory_order_release);
  if (state_ != State::kRunning) return;
  vcpu_->RequestImmediateExit(true);
  pthread_kill(thread_.native_handle(), KickSignal());
  slots_->WakeWaiters();
}

void VcpuThread::RequestPause() noexcept {
  MutexLock lock(mutex_);
  pause_wanted_ = true;
  KickLocked();
}

void VcpuThread::RequestStop() noexcept {
  MutexLock lock(mutex_);
  stop_wanted_ = true;
  KickLocked();
  changed_.NotifyAll();
}

void VcpuThread::Resume() noexcept {
  MutexLock lock(mutex_);
  pause_wanted_ = false;
  changed_.NotifyAll();
}

void VcpuThread::Hold() noexcept {
  MutexLock lock(mutex_);
  ++holds_;
  KickLocked();
}

void VcpuThread::Release() noexcept {
  MutexLock lock(mutex_);
  --holds_;
  changed_.NotifyAll();
}

void VcpuThread::WaitParked() noexcept {
  MutexLock lock(mutex_);
  // A resume in between ends the wait too: nobody is going to park then.
  while (state_ == State::kRunning && (pause_wanted_ || stop_wanted_)) changed_.Wait(mutex_);
}

void VcpuThread::WaitFinished() noexcept {
  MutexLock lock(mutex_);
  while (state_ != State::kIdle && state_ != State::kFinished) changed_.Wait(mutex_);
}

bool VcpuThread::finished() const noexcept {
  MutexLock lock(mutex_);
  return state_ == State::kFinished;
}

int VcpuThread::thread_id() const noexcept {
  {
    MutexLock lock(mutex_);
    if (state_ == State::kIdle) return 0;
  }
  thread_id_.wait(0, std::memory_order_relaxed);
  return thread_id_.load(std::memory_order_relaxed);
}

bool VcpuThread::is_current_thread() const noexcept {
  MutexLock lock(mutex_);
  return thread_.get_id() == std::this_thread::get_id();
}

VcpuAction VcpuThread::ParkIfAsked() noexcept {
  MutexLock lock(mutex_);
  while ((pause_wanted_ || holds_ > 0) && !stop_wanted_) {
    state_ = State::kParked;
    changed_.NotifyAll();
    changed_.Wait(mutex_);
  }
  if (stop_wanted_) return VcpuAction::kFinish;
  state_ = State::kRunning;
  // Under the lock, so that no request made from now on is cleared with those just served.
  asked_.store(false, std::memory_order_release);
  vcpu_->RequestImmediateExit(false);
  return VcpuAction::kContinue;
}

void VcpuThread::Main() noexcept {
  thread_id_.store(gettid(), std::memory_order_relaxed);
  thread_id_.notify_all();
  pthread_setname_np(pthread_self(), ("vcpu" + std::to_string(index())).c_str());
  UnblockKickSignal();
  auto action = ParkIfAsked();
  while (action == VcpuAction::kContinue) {
    try {
      action = RunOnce();
    } catch (const std::exception& e) {
      // KVM not telling registers, memory exhausted, a device's sentence: nothing this thread can mend.
      action = Trouble(VcpuTrouble::kRunFailed, e.what());
    }
  }
  MutexLock lock(mutex_);
  state_ = State::kFinished;
  changed_.NotifyAll();
}

VcpuAction VcpuThread::RunOnce() {
  const uint64_t seen = slots_->generation();
  const int rc = vcpu_->Run();
  switch (rc) {
    case 0:
      unexplained_faults_ = 0;
      transient_failures_ = 0;
      woken_before_start_ = 0;
      return HandleExit();
    case -EINTR:
      // Requests are served only here: KVM has then completed whatever access was pending.
      return ParkIfAsked();
    case -EFAULT:
      return HandleBadMemory(seen);
    case -EAGAIN:
      // A processor that waited for INIT or SIPI has got it (KVM API 4.10 leaves that out).
      if (++woken_before_start_ < kWakesAllowed) return VcpuAction::kContinue;
      [[fallthrough]];
    case -ENOMEM:
      if (++transient_failures_ < kTransientFailuresAllowed) {
        std::this_thread::sleep_for(kTransientPause);
        return VcpuAction::kContinue;
      }
      [[fallthrough]];
    default:
      return Trouble(VcpuTrouble::kRunFailed, RunFailedText(index(), -rc, vcpu_->GetRegs()));
  }
}

VcpuAction VcpuThread::Trouble(VcpuTrouble trouble, const std::string& sentence) {
  handler_->OnTrouble(*vcpu_, trouble, sentence);
  return VcpuAction::kFinish;
}

VcpuAction VcpuThread::HandleExit() {
  kvm_run& run = vcpu_->run();
  switch (run.exit_reason) {
    case KVM_EXIT_IO:
      return HandlePortIo();
    case KVM_EXIT_MMIO:
      return HandleMmio();
    case KVM_EXIT_INTR:
      return VcpuAction::kContinue;
    case KVM_EXIT_IOAPIC_EOI:
      handler_->OnEndOfInterrupt(run.eoi.vector);
      return VcpuAction::kContinue;
    case KVM_EXIT_SHUTDOWN:
      return Trouble(VcpuTrouble::kTripleFault, TripleFaultText(index(), vcpu_->GetRegs()));
    case KVM_EXIT_INTERNAL_ERROR:
      return HandleInternalError();
    case KVM_EXIT_FAIL_ENTRY:
      return Trouble(VcpuTrouble::kFailEntry, FailEntryText(index(), run, vcpu_->GetRegs()));
    default:
      return Trouble(VcpuTrouble::kUnknownExit, UnknownExitText(index(), run, vcpu_->GetRegs()));
  }
}

VcpuAction VcpuThread::HandleInternalError() {
  const kvm_run& run = vcpu_->run();
  std::string why;
  if (run.internal.suberror == KVM_INTERNAL_ERROR_EMULATION &&
      handler_->OnEmulationFailure(*vcpu_, InstructionBytes(run), &why)) {
    return VcpuAction::kContinue;
  }
  if (why.empty()) why = InternalErrorText(index(), run, vcpu_->GetRegs());
  return Trouble(VcpuTrouble::kInternalError, why);
}

VcpuAction VcpuThread::HandlePortIo() {
  kvm_run& run = vcpu_->run();
  const auto& io = run.io;
  auto* data = static_cast<std::byte*>(static_cast<void*>(&run)) + io.data_offset;
  for (uint32_t i = 0; i < io.count; ++i, data += io.size) {
    const auto action = handler_->OnPortIo(*vcpu_, io.port, {data, io.size}, io.direction == KVM_EXIT_IO_OUT);
    if (action != VcpuAction::kContinue) return action;
  }
  return VcpuAction::kContinue;
}

VcpuAction VcpuThread::HandleMmio() {
  auto& mmio = vcpu_->run().mmio;
  const auto data = std::as_writable_bytes(std::span(mmio.data, mmio.len));
  auto action = VcpuAction::kRetry;
  while (action == VcpuAction::kRetry) {
    action = handler_->OnMmio(*vcpu_, Gpa(mmio.phys_addr), data, mmio.is_write != 0);
    // Parking here leaves the access pending in KVM: it is completed only when it has been answered.
    if (action == VcpuAction::kRetry && ParkIfAsked() == VcpuAction::kFinish) return VcpuAction::kFinish;
  }
  return action;
}

VcpuAction VcpuThread::HandleBadMemory(uint64_t seen_generation) {
  // KVM says the same of memory that is being unplugged and of memory the host lost. The first ends with a
  // change of the memslots, after which the access meets the new table.
  switch (slots_->WaitForChange(seen_generation, asked_, kRevocationPatience)) {
    case MemslotTable::Wake::kChanged:
      revoked_faults_.fetch_add(1, std::memory_order_relaxed);
      unexplained_faults_ = 0;
      return VcpuAction::kContinue;
    case MemslotTable::Wake::kInterrupted:
      return VcpuAction::kContinue;
    case MemslotTable::Wake::kNoRevocation:
      break;
  }
  if (++unexplained_faults_ < kUnexplainedFaultsAllowed) return VcpuAction::kContinue;
  return Trouble(VcpuTrouble::kBadMemory, BadMemoryText(index(), vcpu_->run(), vcpu_->GetRegs()));
}

}  // namespace faultline
