// What a vCPU meets when memory is taken from under it, or never comes.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <thread>

#include "tests/guestmem/failing_host.h"
#include "tests/vmm/kvm/tiny_vm.h"

GUEST_CODE(read_second_and_tell, "movl (%rdi), %eax\n movw $0xf4, %dx\n outl %eax, %dx\n 1: jmp 1b")

namespace faultline {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr uint16_t kEnd = 0xf4;

class VcpuMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_KVM();
    handler_.on_io = [](Vcpu&, uint64_t port, std::span<std::byte>, bool) {
      return port == kEnd ? VcpuAction::kFinish : VcpuAction::kContinue;
    };
    handler_.on_mmio = [](Vcpu&, uint64_t, std::span<std::byte> data, bool write) {
      if (!write) std::fill(data.begin(), data.end(), std::byte{0xff});
      return VcpuAction::kContinue;
    };
  }
  RegionView Second(HvaRange hva) { return TinyVm::View(2, "second", Gpa(TinyVm::kSecond), hva); }

  RecordingHandler handler_;
};

TEST_F(VcpuMemoryTest, RevokedMemoryPutsTheVcpuToSleepUntilTheSlotIsGoneAndThenReadsAsOnes) {
  FailingHost host;
  TinyVm vm(read_second_and_tell(), handler_, host);
  HostMemory memory(2_MiB, PROT_NONE);
  vm.slots.OnPlug(Second(memory.range()));
  vm.slots.OnRevoke(Second(memory.range()));
  host.Count(Ioctls(KVM_RUN));
  vm.thread->Start();
  while (host.seen() == 0) std::this_thread::yield();
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(host.seen(), 1u) << "the vCPU entered the guest again while nothing had changed";
  EXPECT_TRUE(handler_.mmios().empty());
  vm.slots.OnUnmap(Second(memory.range()));
  vm.thread->WaitFinished();
  ASSERT_EQ(handler_.mmios().size(), 1u);
  EXPECT_EQ(handler_.ios().back().value, 0xffffffffu);
  EXPECT_EQ(vm.thread->revoked_faults(), 1u);
}

TEST_F(VcpuMemoryTest, AVcpuThatWaitsForARevocationCanBePausedAndStopped) {
  TinyVm vm(read_second_and_tell(), handler_);
  HostMemory memory(2_MiB, PROT_NONE);
  vm.slots.OnPlug(Second(memory.range()));
  vm.slots.OnRevoke(Second(memory.range()));
  vm.thread->Start();
  std::this_thread::sleep_for(milliseconds(10));
  vm.thread->RequestPause();
  vm.thread->WaitParked();
  vm.thread->Resume();
  vm.thread->RequestStop();
  vm.thread->WaitFinished();
  EXPECT_TRUE(handler_.troubles().empty());
}

TEST_F(VcpuMemoryTest, ARevocationThatIsRolledBackLetsTheAccessThrough) {
  TinyVm vm(read_second_and_tell(), handler_);
  HostMemory memory(2_MiB, PROT_NONE);
  vm.slots.OnPlug(Second(memory.range()));
  vm.slots.OnRevoke(Second(memory.range()));
  vm.thread->Start();
  std::this_thread::sleep_for(milliseconds(10));
  mprotect(ToPointer(memory.range().start), memory.range().size.value, PROT_READ | PROT_WRITE);
  const uint32_t content = 0x12345678;
  memcpy(ToPointer(memory.range().start), &content, sizeof(content));
  auto restored = Second(memory.range());
  restored.id = RegionId{3};
  vm.slots.OnRestore(RegionId{2}, restored);
  vm.thread->WaitFinished();
  EXPECT_TRUE(handler_.mmios().empty());
  EXPECT_EQ(handler_.ios().back().value, content);
}

TEST_F(VcpuMemoryTest, MemoryLostWithoutAnUnplugEndsTheVcpuWithASentence) {
  TinyVm vm(read_second_and_tell(), handler_);
  HostMemory memory(2_MiB, PROT_NONE);
  vm.slots.OnPlug(Second(memory.range()));
  vm.thread->Start();
  vm.thread->WaitFinished();
  const auto troubles = handler_.troubles();
  ASSERT_EQ(troubles.size(), 1u);
  EXPECT_EQ(troubles[0].first, VcpuTrouble::kBadMemory);
  EXPECT_THAT(troubles[0].second, HasSubstr("vCPU 0 at RIP 0x10000"));
}

TEST_F(VcpuMemoryTest, AVcpuBlockedInAUserfaultThatNobodyServesCanBePausedAndGoesOnAfterwards) {
  const int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  if (device < 0) GTEST_SKIP() << "/dev/userfaultfd: " << strerror(errno);
  const int uffd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
  close(device);
  ASSERT_GE(uffd, 0);
  uffdio_api api{UFFD_API, 0, 0};
  ASSERT_EQ(ioctl(uffd, UFFDIO_API, &api), 0);
  HostMemory memory(2_MiB);
  const uint64_t start = memory.range().start.value;
  uffdio_register registration{{start, memory.range().size.value}, UFFDIO_REGISTER_MODE_MISSING, 0};
  ASSERT_EQ(ioctl(uffd, UFFDIO_REGISTER, &registration), 0);

  {
    TinyVm vm(read_second_and_tell(), handler_);
    vm.slots.OnPlug(Second(memory.range()));
    vm.thread->Start();
    pollfd ready{uffd, POLLIN, 0};
    ASSERT_EQ(poll(&ready, 1, 60'000), 1) << "the vCPU did not fault";
    vm.thread->RequestPause();
    vm.thread->WaitParked();
    EXPECT_TRUE(handler_.ios().empty());
    vm.thread->Resume();

    uffdio_zeropage zero{{start, memory.range().size.value}, 0, 0};
    ASSERT_EQ(ioctl(uffd, UFFDIO_ZEROPAGE, &zero), 0);
    vm.thread->WaitFinished();
    EXPECT_EQ(handler_.ios().back().value, 0u);
    EXPECT_TRUE(handler_.mmios().empty());
  }
  close(uffd);
}

}  // namespace
}  // namespace faultline
