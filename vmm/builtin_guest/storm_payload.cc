// The storm inside the guest: every vCPU runs a StormWorker until the host says stop.
//
// Guest side, freestanding, CPL 3. Storm memory is reached by single plain moves, so that an access to
// memory that is not there is one MMIO exit that any KVM can complete.
#include "vmm/builtin_guest/payload.h"
#include "vmm/builtin_guest/storm_abi.h"
#include "vmm/builtin_guest/storm_worker.h"

namespace faultline::guest {
namespace {

class GuestAccess {
 public:
  uint64_t Load(uint64_t gpa) {
    uint64_t value;
    asm volatile("movq (%1), %0" : "=r"(value) : "r"(gpa) : "memory");
    return value;
  }
  void Store(uint64_t gpa, uint64_t value) { asm volatile("movq %0, (%1)" ::"r"(value), "r"(gpa) : "memory"); }
  void Fence() { asm volatile("lock orq $0, (%%rsp)" ::: "memory", "cc"); }
  uint64_t Ticks() {
    uint32_t low;
    uint32_t high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
    return uint64_t{high} << 32 | low;
  }
  void Idle() { IdleWait(); }
};

}  // namespace
}  // namespace faultline::guest

extern "C" void StormMain(uint32_t cpu_index) {
  using namespace faultline;
  auto* block = reinterpret_cast<storm_abi::Block*>(storm_abi::kStormBlockGpa);
  guest::GuestAccess access;
  storm_abi::StormWorker<guest::GuestAccess>(block, cpu_index, access).Run();
  // A write to the idle port tells the host that this vCPU is done.
  for (;;) guest::WakeAll();
}
