// Routes, messages and doorbells with a real KVM.
#include <gtest/gtest.h>
#include <poll.h>

#include "guestmem/error.h"
#include "tests/vmm/kvm/tiny_vm.h"
#include "vmm/kvm/irq_routes.h"
#include "vmm/kvm/kvm_doorbell_host.h"
#include "vmm/kvm/kvm_msi_host.h"

GUEST_CODE(ring_doorbells_then_end,
           "movw $0x700, %dx\n movw $1, %ax\n outw %ax, %dx\n movw $2, %ax\n outw %ax, %dx\n"
           "movw $0xf4, %dx\n outb %al, %dx\n 1: jmp 1b")

namespace faultline {
namespace {

bool Rang(const Doorbell& doorbell) {
  pollfd fd{doorbell.fd(), POLLIN, 0};
  return poll(&fd, 1, 0) == 1;
}

class KvmInterrupts : public testing::Test {
 protected:
  void SetUp() override { SKIP_WITHOUT_KVM(); }
};

TEST_F(KvmInterrupts, BothInterruptControllersAreMadeAndTakeRoutes) {
  const KvmSystem system(Host::System());
  for (const IrqChip chip : {IrqChip::kSplit, IrqChip::kKernel}) {
    const KvmVm vm(system, chip);
    IrqRoutes routes(vm);
    const uint32_t gsi = routes.Allocate();
    EXPECT_GE(gsi, KvmVm::kIoapicPins);
    EXPECT_EQ(routes.Set(gsi, MsiMessage{0xfee00000, 0x41}), 0);
    EXPECT_EQ(routes.Set(gsi, std::nullopt), 0);
    routes.Free(gsi);
    EXPECT_EQ(routes.Allocate(), gsi) << "a GSI given back is given again";
  }
}

TEST_F(KvmInterrupts, AVectorTakesMessagesChangesAndLosesThem) {
  const KvmSystem system(Host::System());
  const KvmVm vm(system, IrqChip::kSplit);
  IrqRoutes routes(vm);
  KvmMsiHost host(vm, routes);
  const auto vector = host.NewVector();
  vector->Trigger();
  vector->SetMessage(MsiMessage{0xfee00000, 0x41});
  vector->Trigger();
  vector->SetMessage(MsiMessage{0xfee01000, 0x42});
  vector->SetMessage(std::nullopt);
  vector->Trigger();
  host.Send({0xfee00000, 0x43});
}

TEST_F(KvmInterrupts, VectorsEndWhenKvmHasNoMoreRoutes) {
  const KvmSystem system(Host::System());
  const KvmVm vm(system, IrqChip::kSplit);
  IrqRoutes routes(vm);
  EXPECT_THROW(for (int i = 0; i < 10000; ++i) routes.Allocate(), Error);
}

TEST_F(KvmInterrupts, ADoorbellTakesTheWritesItMatchesAndNoOthers) {
  RecordingHandler handler;
  handler.on_io = [](Vcpu&, uint64_t port, std::span<std::byte>, bool) {
    return port == 0xf4 ? VcpuAction::kFinish : VcpuAction::kContinue;
  };
  TinyVm vm(ring_doorbells_then_end(), handler);
  KvmDoorbellHost host(vm.vm);
  const auto rung = host.Add(AddressSpace::kPort, 0x700, 2, 1);
  const auto silent = host.Add(AddressSpace::kPort, 0x700, 2, 3);
  vm.thread->Start();
  vm.thread->WaitFinished();
  EXPECT_TRUE(Rang(*rung));
  EXPECT_FALSE(Rang(*silent));
  const auto ios = handler.ios();
  ASSERT_EQ(ios.size(), 2U) << "the write of 2 and the end";
  EXPECT_EQ(ios[0].value, 2U);
}

TEST_F(KvmInterrupts, ADoorbellThatIsGoneLeavesItsAddressToOthers) {
  const KvmSystem system(Host::System());
  const KvmVm vm(system);
  KvmDoorbellHost host(vm);
  auto first = host.Add(AddressSpace::kMmio, 0xc0000000, 4, std::nullopt);
  EXPECT_THROW(host.Add(AddressSpace::kMmio, 0xc0000000, 4, std::nullopt), Error);
  first.reset();
  EXPECT_NO_THROW(host.Add(AddressSpace::kMmio, 0xc0000000, 4, std::nullopt));
}

}  // namespace
}  // namespace faultline
