#include "tests/bench/touching_guest.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

// rdi = window, rsi = page numbers (32-bit), rcx = how many. Each number is replaced by the time its touch took, in
// TSC ticks.
asm(R"(
.pushsection .rodata
.globl faultline_toucher_begin, faultline_toucher_end
faultline_toucher_begin:
1:  rdtsc
    movl %eax, %ebx
    movl (%rsi), %eax
    shlq $12, %rax
    movq %rsi, (%rdi, %rax)
    rdtsc
    subl %ebx, %eax
    movl %eax, (%rsi)
    addq $4, %rsi
    decq %rcx
    jnz 1b
    outb %al, $0xf4
    jmp faultline_toucher_begin
faultline_toucher_end:
.popsection
)");
extern "C" const unsigned char faultline_toucher_begin[], faultline_toucher_end[];

namespace faultline::bench {
namespace {

// Boot memory: page tables, code, then the page numbers to touch.
constexpr uint64_t kBootSize = 1 << 20;
constexpr uint64_t kPml4 = 0x1000, kPdpt = 0x2000, kDirectory = 0x3000, kCode = 0x8000, kOrder = 0x80000;

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "%s failed: %s; benchmarks need /dev/kvm\n", what, std::strerror(errno));
  std::exit(1);
}

int Checked(int result, const char* what) {
  if (result < 0) Fail(what);
  return result;
}

kvm_segment UserSegment(bool code) {
  kvm_segment s{};
  s.limit = 0xffffffff;
  s.selector = code ? 0x33 : 0x2b;
  s.type = code ? 11 : 3;
  s.present = s.s = s.g = 1;
  s.dpl = 3;
  s.l = code ? 1 : 0;
  s.db = code ? 0 : 1;
  return s;
}

}  // namespace

TouchingGuest::TouchingGuest(unsigned vcpus) {
  const int kvm = Checked(open("/dev/kvm", O_RDWR | O_CLOEXEC), "opening /dev/kvm");
  vm_ = Checked(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
  run_size_ = static_cast<uint64_t>(Checked(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE"));
  close(kvm);

  void* boot = mmap(nullptr, kBootSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (boot == MAP_FAILED) Fail("mmap");
  boot_ = static_cast<std::byte*>(boot);
  const auto put = [this](uint64_t at, uint64_t value) { std::memcpy(boot_ + at, &value, sizeof value); };
  constexpr uint64_t kUserWritable = 0x7, kLarge = 0x80;
  put(kPml4, kPdpt | kUserWritable);
  for (uint64_t gib = 0; gib < 2; ++gib) {
    const uint64_t directory = kDirectory + gib * 0x1000;
    put(kPdpt + gib * 8, directory | kUserWritable);
    for (uint64_t i = 0; i < 512; ++i) put(directory + i * 8, (gib << 30) | (i << 21) | kUserWritable | kLarge);
  }
  std::memcpy(boot_ + kCode, faultline_toucher_begin,
              static_cast<size_t>(faultline_toucher_end - faultline_toucher_begin));
  kvm_userspace_memory_region region{};
  region.memory_size = kBootSize;
  region.userspace_addr = reinterpret_cast<uintptr_t>(boot_);
  Checked(ioctl(vm_, KVM_SET_USER_MEMORY_REGION, &region), "mapping boot memory");

  for (unsigned i = 0; i < vcpus; ++i) {
    Cpu cpu;
    cpu.fd = Checked(ioctl(vm_, KVM_CREATE_VCPU, i), "KVM_CREATE_VCPU");
    void* run = mmap(nullptr, run_size_, PROT_READ | PROT_WRITE, MAP_SHARED, cpu.fd, 0);
    if (run == MAP_FAILED) Fail("mapping a vCPU");
    cpu.run = static_cast<kvm_run*>(run);
    kvm_sregs sregs{};
    Checked(ioctl(cpu.fd, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
    sregs.cs = UserSegment(true);
    sregs.ds = sregs.es = sregs.ss = UserSegment(false);
    sregs.cr0 = 0x80050033;  // PG, AM, WP, NE, ET, MP, PE
    sregs.cr3 = kPml4;
    sregs.cr4 = 0x620;   // PAE, OSFXSR, OSXMMEXCPT
    sregs.efer = 0x501;  // LMA, LME, SCE
    Checked(ioctl(cpu.fd, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
    cpus_.push_back(cpu);
  }
  tsc_khz_ = static_cast<uint64_t>(Checked(ioctl(cpus_[0].fd, KVM_GET_TSC_KHZ, 0), "KVM_GET_TSC_KHZ"));
}

TouchingGuest::~TouchingGuest() {
  for (const Cpu& cpu : cpus_) {
    munmap(cpu.run, run_size_);
    close(cpu.fd);
  }
  close(vm_);
  munmap(boot_, kBootSize);
}

void TouchingGuest::SetSlot(uint32_t slot, uint64_t gpa, void* memory, uint64_t size) {
  kvm_userspace_memory_region region{};
  region.slot = slot;
  region.guest_phys_addr = gpa;
  region.memory_size = size;
  region.userspace_addr = reinterpret_cast<uintptr_t>(memory);
  Checked(ioctl(vm_, KVM_SET_USER_MEMORY_REGION, &region), "changing a memslot");
}

void TouchingGuest::Map(void* memory, uint64_t size) { SetSlot(1, kWindow, memory, size); }
void TouchingGuest::Unmap() { SetSlot(1, kWindow, nullptr, 0); }
void TouchingGuest::MapBeside(void* memory, uint64_t size) { SetSlot(2, kBeside, memory, size); }
void TouchingGuest::UnmapBeside() { SetSlot(2, kBeside, nullptr, 0); }

uint64_t TouchingGuest::Touch(std::span<const uint32_t> order) {
  if (order.size() > kMaxPages || order.size() < cpus_.size()) Fail("the page order does not fit");
  std::memcpy(boot_ + kOrder, order.data(), order.size_bytes());
  touched_ = order.size();

  using Clock = std::chrono::steady_clock;
  std::atomic<unsigned> ready{0};
  std::atomic<bool> go{false};
  std::vector<Clock::time_point> ends(cpus_.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < cpus_.size(); ++i) {
    threads.emplace_back([&, i] {
      if (cpu_ >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(static_cast<size_t>(cpu_), &set);
        sched_setaffinity(0, sizeof set, &set);
      }
      const size_t begin = order.size() * i / cpus_.size(), end = order.size() * (i + 1) / cpus_.size();
      kvm_regs regs{};
      regs.rip = kCode;
      regs.rflags = 0x3002;  // IOPL 3: `out` at CPL 3 exits
      regs.rdi = kWindow;
      regs.rsi = kOrder + begin * sizeof(uint32_t);
      regs.rcx = end - begin;
      Checked(ioctl(cpus_[i].fd, KVM_SET_REGS, &regs), "KVM_SET_REGS");
      ready.fetch_add(1);
      go.wait(false);
      int result;
      do {
        result = ioctl(cpus_[i].fd, KVM_RUN, 0);
      } while (result < 0 && errno == EINTR);
      ends[i] = Clock::now();
      if (result < 0) Fail("KVM_RUN");
      if (cpus_[i].run->exit_reason != KVM_EXIT_IO) {
        std::fprintf(stderr, "the touching guest stopped with exit reason %u\n", cpus_[i].run->exit_reason);
        std::exit(1);
      }
    });
  }
  while (ready.load() < cpus_.size()) std::this_thread::sleep_for(std::chrono::microseconds(100));
  // The threads sleep in wait() by now, so that none starts ahead of the others.
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  const auto begin = Clock::now();
  go.store(true);
  go.notify_all();
  for (std::thread& thread : threads) thread.join();
  auto last = begin;
  for (const auto end : ends) last = std::max(last, end);
  return static_cast<uint64_t>(std::chrono::nanoseconds(last - begin).count());
}

std::vector<uint64_t> TouchingGuest::LastLatencies() const {
  std::vector<uint64_t> result(touched_);
  for (size_t i = 0; i < touched_; ++i) {
    uint32_t ticks = 0;
    std::memcpy(&ticks, boot_ + kOrder + i * sizeof ticks, sizeof ticks);
    result[i] = ticks * 1'000'000ULL / tsc_khz_;
  }
  return result;
}

}  // namespace faultline::bench
