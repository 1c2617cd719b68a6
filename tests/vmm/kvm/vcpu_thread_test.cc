#include "vmm/kvm/vcpu_thread.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "guestmem/error.h"
#include "tests/guestmem/failing_host.h"
#include "tests/vmm/kvm/tiny_vm.h"

GUEST_CODE(count_for_ever, "1: incq 0x90000\n jmp 1b")
GUEST_CODE(say_42_then_end,
           "movb $42, %al\n movw $0x3f8, %dx\n outb %al, %dx\n movw $0xf4, %dx\n outb %al, %dx\n 1: jmp 1b")
GUEST_CODE(read_port_and_tell, "movw $0x60, %dx\n inl %dx, %eax\n movw $0xf4, %dx\n outl %eax, %dx\n 1: jmp 1b")
GUEST_CODE(say_hello_at_once,
           "leaq 2f(%rip), %rsi\n movl $5, %ecx\n movw $0x3f8, %dx\n cld\n rep outsb\n"
           "movw $0xf4, %dx\n outb %al, %dx\n 1: jmp 1b\n 2: .ascii \"hello\"")
GUEST_CODE(touch_empty_bus,
           "movq $0x1122334455667788, %rax\n movq %rax, (%rdi)\n movw $0x99aa, %ax\n movw %ax, 16(%rdi)\n"
           "movl 32(%rdi), %eax\n movw $0xf4, %dx\n outl %eax, %dx\n 1: jmp 1b")
GUEST_CODE(ask_ports_for_ever, "1: movw $0x60, %dx\n inl %dx, %eax\n incq 0x90000\n jmp 1b")
GUEST_CODE(execute_ud2, "ud2")
GUEST_CODE(compare_vector_with_empty_bus, "pcmpeqb (%rdi), %xmm0\n 1: jmp 1b")

namespace faultline {
namespace {

using testing::HasSubstr;

constexpr uint16_t kEnd = 0xf4;

class VcpuThreadTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_KVM();
    handler_.on_io = [](Vcpu&, uint64_t port, std::span<std::byte>, bool) {
      return port == kEnd ? VcpuAction::kFinish : VcpuAction::kContinue;
    };
  }
  void WaitUntilCounting(TinyVm& vm) {
    const uint64_t before = vm.Counter();
    while (vm.Counter() == before) std::this_thread::yield();
  }

  RecordingHandler handler_;
};

TEST_F(VcpuThreadTest, ItsThreadIdIsThereAsSoonAsItIsStarted) {
  for (int i = 0; i < 50; ++i) {
    TinyVm vm(say_42_then_end(), handler_);
    EXPECT_EQ(vm.thread->thread_id(), 0);
    vm.thread->Start(/*paused=*/true);
    EXPECT_GT(vm.thread->thread_id(), 0);
  }
}

TEST_F(VcpuThreadTest, PortWritesReachTheHandlerInOrder) {
  TinyVm vm(say_42_then_end(), handler_);
  vm.thread->Start();
  vm.thread->WaitFinished();
  const auto ios = handler_.ios();
  ASSERT_EQ(ios.size(), 2u);
  EXPECT_EQ(ios[0].address, 0x3f8u);
  EXPECT_EQ(ios[0].value, 42u);
  EXPECT_EQ(ios[0].size, 1u);
  EXPECT_TRUE(ios[0].write);
}

TEST_F(VcpuThreadTest, WhatTheHandlerAnswersIsWhatTheGuestReads) {
  handler_.on_io = [](Vcpu&, uint64_t port, std::span<std::byte> data, bool write) {
    if (port == kEnd) return VcpuAction::kFinish;
    EXPECT_FALSE(write);
    const uint32_t answer = 0xcafebabe;
    memcpy(data.data(), &answer, sizeof(answer));
    return VcpuAction::kContinue;
  };
  TinyVm vm(read_port_and_tell(), handler_);
  vm.thread->Start();
  vm.thread->WaitFinished();
  EXPECT_EQ(handler_.ios().back().value, 0xcafebabeu);
}

TEST_F(VcpuThreadTest, StringOutputComesElementByElement) {
  TinyVm vm(say_hello_at_once(), handler_);
  vm.thread->Start();
  vm.thread->WaitFinished();
  std::string said;
  for (const auto& io : handler_.ios()) {
    if (io.address == 0x3f8) said += static_cast<char>(io.value);
  }
  EXPECT_EQ(said, "hello");
}

TEST_F(VcpuThreadTest, AccessesWithoutASlotReachTheHandlerWithTheirWidth) {
  handler_.on_mmio = [](Vcpu&, uint64_t, std::span<std::byte> data, bool write) {
    if (!write) std::fill(data.begin(), data.end(), std::byte{0xff});
    return VcpuAction::kContinue;
  };
  TinyVm vm(touch_empty_bus(), handler_);
  vm.thread->Start();
  vm.thread->WaitFinished();
  const auto mmios = handler_.mmios();
  ASSERT_EQ(mmios.size(), 3u);
  EXPECT_EQ(mmios[0].address, TinyVm::kSecond);
  EXPECT_EQ(mmios[0].value, 0x1122334455667788u);
  EXPECT_EQ(mmios[0].size, 8u);
  EXPECT_EQ(mmios[1].address, TinyVm::kSecond + 16);
  EXPECT_EQ(mmios[1].value, 0x99aau);
  EXPECT_EQ(mmios[1].size, 2u);
  EXPECT_FALSE(mmios[2].write);
  EXPECT_EQ(handler_.ios().back().value, 0xffffffffu);
}

TEST_F(VcpuThreadTest, AGuestThatNeverExitsIsStopped) {
  TinyVm vm(count_for_ever(), handler_);
  vm.thread->Start();
  WaitUntilCounting(vm);
  vm.thread->RequestStop();
  vm.thread->WaitFinished();
  EXPECT_TRUE(vm.thread->finished());
  EXPECT_TRUE(handler_.troubles().empty());
}

TEST_F(VcpuThreadTest, APausedGuestStandsStillAndGoesOnWhereItWas) {
  TinyVm vm(count_for_ever(), handler_);
  vm.thread->Start();
  for (int i = 0; i < 20; ++i) {
    WaitUntilCounting(vm);
    vm.thread->RequestPause();
    vm.thread->WaitParked();
    const uint64_t parked_at = vm.Counter();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_EQ(vm.Counter(), parked_at);
    vm.thread->Resume();
  }
  WaitUntilCounting(vm);
}

TEST_F(VcpuThreadTest, StartedPausedItRunsNothingBeforeResume) {
  TinyVm vm(count_for_ever(), handler_);
  vm.thread->Start(/*paused=*/true);
  vm.thread->WaitParked();
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(vm.Counter(), 0u);
  vm.thread->Resume();
  WaitUntilCounting(vm);
}

TEST_F(VcpuThreadTest, APauseAskedInAHandlerLosesNoAnswer) {
  TinyVm* tiny = nullptr;
  std::atomic<bool> asked = false;
  handler_.on_io = [&](Vcpu&, uint64_t port, std::span<std::byte> data, bool) {
    if (port == kEnd) return VcpuAction::kFinish;
    const uint32_t answer = 77;
    memcpy(data.data(), &answer, sizeof(answer));
    tiny->thread->RequestPause();
    asked = true;
    return VcpuAction::kContinue;
  };
  TinyVm vm(read_port_and_tell(), handler_);
  tiny = &vm;
  vm.thread->Start();
  while (!asked) std::this_thread::yield();
  vm.thread->WaitParked();
  // The access was completed on the way to the park: the register holds the answer already.
  EXPECT_EQ(vm.thread->vcpu().GetRegs().rax, 77u);
  EXPECT_EQ(handler_.ios().size(), 1u);
  vm.thread->Resume();
  vm.thread->WaitFinished();
  EXPECT_EQ(handler_.ios().back().value, 77u);
}

TEST_F(VcpuThreadTest, AnAccessAnsweredWithRetryComesAgainAfterThePause) {
  TinyVm* tiny = nullptr;
  int attempts = 0;
  std::atomic<bool> asked = false;
  handler_.on_mmio = [&](Vcpu&, uint64_t, std::span<std::byte> data, bool write) {
    if (!write && attempts++ == 0) {
      tiny->thread->RequestPause();
      asked = true;
      return VcpuAction::kRetry;
    }
    if (!write) std::fill(data.begin(), data.end(), std::byte{0x5a});
    return VcpuAction::kContinue;
  };
  TinyVm vm(touch_empty_bus(), handler_);
  tiny = &vm;
  vm.thread->Start();
  while (!asked) std::this_thread::yield();
  vm.thread->WaitParked();
  EXPECT_EQ(handler_.mmios().size(), 3u);
  vm.thread->Resume();
  vm.thread->WaitFinished();
  EXPECT_EQ(handler_.mmios().size(), 4u);
  EXPECT_EQ(handler_.ios().back().value, 0x5a5a5a5au);
}

TEST_F(VcpuThreadTest, PausesBetweenManyExitsLoseNoneOfThem) {
  TinyVm vm(ask_ports_for_ever(), handler_);
  vm.thread->Start();
  for (int i = 0; i < 50; ++i) {
    vm.thread->RequestPause();
    vm.thread->WaitParked();
    const uint64_t counted = vm.Counter();
    const size_t seen = handler_.ios().size();
    // The guest counts after each answer: it can be one behind, never more and never ahead.
    EXPECT_LE(counted, seen);
    EXPECT_GE(counted + 1, seen);
    vm.thread->Resume();
    WaitUntilCounting(vm);
  }
}

TEST_F(VcpuThreadTest, AHoldStopsTheGuestAndItsEndLeavesItAsPausedAsItWas) {
  TinyVm vm(ask_ports_for_ever(), handler_);
  vm.thread->Start();
  WaitUntilCounting(vm);
  for (int i = 0; i < 200; ++i) {
    vm.thread->Hold();
    vm.thread->Release();
  }
  WaitUntilCounting(vm);

  vm.thread->RequestPause();
  vm.thread->WaitParked();
  const uint64_t parked_at = vm.Counter();
  vm.thread->Hold();
  vm.thread->Release();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(vm.Counter(), parked_at) << "the end of a hold resumed a paused guest";

  vm.thread->Hold();
  vm.thread->Resume();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(vm.Counter(), parked_at) << "a resume ran a guest that is held";
  vm.thread->Release();
  WaitUntilCounting(vm);
  EXPECT_TRUE(handler_.troubles().empty());
}

TEST_F(VcpuThreadTest, HoldsAddUp) {
  TinyVm vm(ask_ports_for_ever(), handler_);
  vm.thread->Hold();
  vm.thread->Hold();
  vm.thread->Start(/*paused=*/false);
  vm.thread->Release();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(vm.Counter(), 0u);
  vm.thread->Release();
  WaitUntilCounting(vm);
}

TEST_F(VcpuThreadTest, ATripleFaultEndsTheVcpuWithASentence) {
  TinyVm vm(execute_ud2(), handler_);
  vm.thread->Start();
  vm.thread->WaitFinished();
  const auto troubles = handler_.troubles();
  ASSERT_EQ(troubles.size(), 1u);
  EXPECT_EQ(troubles[0].first, VcpuTrouble::kTripleFault);
  EXPECT_THAT(troubles[0].second, HasSubstr("triple fault on vCPU 0 at RIP 0x10000"));
}

TEST_F(VcpuThreadTest, AnInstructionKvmCannotEmulateIsToldWithItsBytes) {
  TinyVm vm(compare_vector_with_empty_bus(), handler_);
  vm.thread->Start();
  vm.thread->WaitFinished();
  const auto troubles = handler_.troubles();
  ASSERT_EQ(troubles.size(), 1u);
  EXPECT_EQ(troubles[0].first, VcpuTrouble::kInternalError) << troubles[0].second;
  EXPECT_THAT(troubles[0].second, HasSubstr("66 0f 74 07"));
  EXPECT_THAT(troubles[0].second, HasSubstr("0x10000"));
}

TEST_F(VcpuThreadTest, PassingFailuresOfRunAreOutlasted) {
  for (const int error : {EINTR, EAGAIN, ENOMEM}) {
    FailingHost host;
    RecordingHandler handler;
    handler.on_io = handler_.on_io;
    TinyVm vm(say_42_then_end(), handler, host);
    host.Arm(1, error, Ioctls(KVM_RUN), 3);
    vm.thread->Start();
    vm.thread->WaitFinished();
    EXPECT_EQ(host.fired(), 3u);
    EXPECT_EQ(handler.ios().size(), 2u);
    EXPECT_TRUE(handler.troubles().empty());
  }
}

TEST_F(VcpuThreadTest, ARefusalToRunIsToldOnceAndEndsTheVcpu) {
  FailingHost host;
  TinyVm vm(say_42_then_end(), handler_, host);
  host.Arm(1, EIO, Ioctls(KVM_RUN));
  vm.thread->Start();
  vm.thread->WaitFinished();
  const auto troubles = handler_.troubles();
  ASSERT_EQ(troubles.size(), 1u);
  EXPECT_EQ(troubles[0].first, VcpuTrouble::kRunFailed);
}

TEST_F(VcpuThreadTest, ItCanBeDestroyedAtAnyStageOfItsLife) {
  { TinyVm never_started(count_for_ever(), handler_); }
  {
    TinyVm parked(count_for_ever(), handler_);
    parked.thread->Start(/*paused=*/true);
  }
  {
    TinyVm running(count_for_ever(), handler_);
    running.thread->Start();
  }
}

}  // namespace
}  // namespace faultline
