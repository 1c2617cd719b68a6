// The floor of start-up: the least C that gets a KVM guest to its first I/O, with a choice of interrupt controllers.
//
//   bare_vmm none|split|full     full is the in-kernel PIC, IOAPIC, LAPIC and PIT that kvmtool asks for
//
// Maps 128 MiB of untouched memory, runs one vCPU, writes the byte that the guest sends to port 0x3f8 to standard
// output and waits for a signal.
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static void check(long result, const char* what) {
  if (result >= 0) return;
  fprintf(stderr, "%s failed: %s\n", what, strerror(errno));
  exit(1);
}

int main(int argc, char** argv) {
  const char* irqchip = argc > 1 ? argv[1] : "none";
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  check(kvm, "opening /dev/kvm");
  const int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  check(vm, "KVM_CREATE_VM");
  if (strcmp(irqchip, "full") == 0) {
    struct kvm_pit_config pit = {0};
    check(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000), "KVM_SET_TSS_ADDR");
    check(ioctl(vm, KVM_CREATE_IRQCHIP), "KVM_CREATE_IRQCHIP");
    check(ioctl(vm, KVM_CREATE_PIT2, &pit), "KVM_CREATE_PIT2");
  } else if (strcmp(irqchip, "split") == 0) {
    struct kvm_enable_cap cap = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};
    check(ioctl(vm, KVM_ENABLE_CAP, &cap), "KVM_CAP_SPLIT_IRQCHIP");
  }

  const size_t size = 128UL << 20;
  unsigned char* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) check(-1, "mmap");
  // mov dx, 0x3f8; mov al, '!'; out dx, al
  static const unsigned char code[] = {0xba, 0xf8, 0x03, 0xb0, '!', 0xee};
  memcpy(memory + 0x1000, code, sizeof code);
  struct kvm_userspace_memory_region region = {.memory_size = size, .userspace_addr = (unsigned long)memory};
  check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");

  const int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
  check(vcpu, "KVM_CREATE_VCPU");
  const int run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  check(run_size, "KVM_GET_VCPU_MMAP_SIZE");
  struct kvm_run* run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (run == MAP_FAILED) check(-1, "mapping the vCPU");
  struct kvm_sregs sregs;
  check(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
  sregs.cs.base = 0;
  sregs.cs.selector = 0;
  check(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
  struct kvm_regs regs = {.rip = 0x1000, .rflags = 2};
  check(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");

  check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
  if (run->exit_reason != KVM_EXIT_IO) {
    fprintf(stderr, "the guest stopped with exit reason %u\n", run->exit_reason);
    return 1;
  }
  check(write(STDOUT_FILENO, (char*)run + run->io.data_offset, 1), "writing to standard output");
  pause();
  return 0;
}
