#include "vmm/kvm/system.h"

#include <gmock/gmock.h>

#include "guestmem/error.h"
#include "tests/guestmem/failing_host.h"
#include "tests/vmm/kvm/tiny_vm.h"
#include "vmm/kvm/vm.h"

namespace faultline {
namespace {

using testing::HasSubstr;

std::string OpeningFailsWith(int error) {
  FailingHost host;
  host.Arm(1, error, CallsOfKind(HostCallKind::kOpen));
  try {
    KvmSystem system(host);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(KvmSystem, AnAbsentDeviceIsToldWithTheWayOut) { EXPECT_THAT(OpeningFailsWith(ENOENT), HasSubstr("modprobe")); }

TEST(KvmSystem, AForbiddenDeviceIsToldWithTheWayOut) {
  EXPECT_THAT(OpeningFailsWith(EACCES), HasSubstr("usermod -aG kvm"));
}

TEST(KvmSystem, EveryFailingCallOfSetUpIsAnErrorAndLeaksNothing) {
  SKIP_WITHOUT_KVM();
  FailingHost host;
  uint64_t calls = 0;
  {
    host.Count(CallsOfThisThread());
    KvmSystem system(host);
    system.SupportedCpuid();
    calls = host.seen();
  }
  ASSERT_GE(calls, 4u);
  for (uint64_t n = 1; n <= calls; ++n) {
    host.Arm(n, EIO, CallsOfThisThread());
    EXPECT_THROW(KvmSystem(host).SupportedCpuid(), Error) << "call " << n;
    EXPECT_EQ(host.fired(), 1u);
    EXPECT_EQ(host.open_descriptors(), 0u) << "call " << n;
  }
}

TEST(KvmVm, AnInterruptedCreationIsTriedAgain) {
  SKIP_WITHOUT_KVM();
  FailingHost host;
  KvmSystem system(host);
  host.Arm(1, EINTR, Ioctls(KVM_CREATE_VM), 3);
  KvmVm vm(system);
  EXPECT_EQ(host.fired(), 3u);
}

TEST(KvmVm, WorksWhereKvmRefusesTheComforts) {
  SKIP_WITHOUT_KVM();
  FailingHost host;
  KvmSystem system(host);
  host.Arm(1, EINVAL, Ioctls(KVM_ENABLE_CAP), ~0ULL >> 1);
  KvmVm vm(system);
  EXPECT_FALSE(vm.zaps_single_slots());
  EXPECT_GT(vm.max_slots(), 0u);
}

TEST(KvmSystem, ItsCpuidListIsWhatTheKernelUnderstands) {
  SKIP_WITHOUT_KVM();
  KvmSystem system(Host::System());
  const kvm::CpuidList& cpuid = system.SupportedCpuid();
  ASSERT_GT(cpuid.header.count, 0u);
  ASSERT_LE(cpuid.header.count, kvm::kMaxCpuidEntries);
  EXPECT_EQ(cpuid.entries[0].function, 0u);
  EXPECT_GE(cpuid.entries[0].eax, 1u);
}

TEST(KvmVcpu, KeepsTheControlRegisterOfSseThatItIsGiven) {
  SKIP_WITHOUT_KVM();
  KvmSystem system(Host::System());
  KvmVm vm(system);
  Vcpu vcpu(vm, 0);
  EXPECT_EQ(vcpu.GetMxcsr(), 0x1f80U) << "as after a reset";
  kvm_fpu fpu = vcpu.GetFpu();
  fpu.fcw = 0x27f;
  vcpu.SetFpu(fpu);
  vcpu.SetMxcsr(0x9fc0);
  EXPECT_EQ(vcpu.GetMxcsr(), 0x9fc0U);
  EXPECT_EQ(vcpu.GetFpu().fcw, 0x27f) << "the rest stays";
}

}  // namespace
}  // namespace faultline
