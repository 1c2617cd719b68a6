// A Linux guest whose memory grows and shrinks while it runs: virtio-mem, DIMMs and the balloon from the command line,
// with the books looked at whenever nothing moves. One boot, and one more in place, show it all.
#include "tests/e2e/linux_shell.h"

namespace faultline::e2e {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr Bytes kBoot = 320_MiB;

class LinuxElastic : public LinuxShell {
 protected:
  void SetUp() override {
    if (!HasKvm()) GTEST_SKIP() << "/dev/kvm is not there or not for this user";
    Boot("320M,max=448M,slots=1", {"--virtio-mem", "1G,block=2M", "--balloon", "on", "--on-reboot", "restart"});
  }

  json Info() const { return place_.Json({"info", "lx"}); }
  // I5: what is plugged is what KVM has mapped, and what is present is what the host charges, but for the program.
  void ExpectBooksAgree(Bytes dimms = Bytes(0)) const {
    const json info = Info();
    const Bytes plugged(Device("vmem0").at("plugged").get<uint64_t>());
    EXPECT_EQ(info.at("kvm").at("memslot-bytes"), (kBoot + dimms + plugged).value);
    EXPECT_EQ(info.at("memory").at("plugged"), (dimms + plugged).value);
    const uint64_t present = info.at("memory").at("present");
    const uint64_t charge = Charge();
    EXPECT_GE(charge + (4_MiB).value, present);
    EXPECT_LE(charge, present + (64_MiB).value);
    EXPECT_EQ(info.at("faults").at("host-errors"), 0);
    EXPECT_EQ(info.at("unplugged-accesses"), 0);
  }
  void Resize(const std::string& size) const {
    const auto start = Clock::now();
    const Answer answer = place_.Run({"memory", "resize", "lx", size, "--timeout", kGuestTime});
    EXPECT_EQ(answer.status, 0) << answer.err;
    const json device = Device("vmem0");
    EXPECT_EQ(device.at("plugged"), device.at("requested"));
    EXPECT_EQ(device.at("failures"), 0) << device;
    Say("virtio-mem at " + size + ", " + std::to_string(device.at("present").get<uint64_t>() >> 20) + " MiB in use,",
        Clock::now() - start);
  }
  // The guest takes a block into use after it was plugged.
  void AwaitMemTotal(uint64_t bytes) {
    const auto start = Clock::now();
    uint64_t total = MemTotal();
    while (total != bytes && Clock::now() - start < kSilence) {
      usleep(300000);
      total = MemTotal();
    }
    EXPECT_EQ(total, bytes);
  }
  void Balloon(const std::string& kept) const {
    const auto start = Clock::now();
    const Answer answer = place_.Run({"memory", "balloon", "lx", kept, "--timeout", kGuestTime});
    EXPECT_EQ(answer.status, 0) << answer.err;
    Say("balloon: the guest keeps " + kept, Clock::now() - start);
  }
};

TEST_F(LinuxElastic, FollowsVirtioMemDimmsAndBalloonWhileItUsesItsMemory) {
  ExpectBooksAgree();
  const uint64_t total = MemTotal();

  Resize("1G");
  AwaitMemTotal(total + (1_GiB).value);
  Guest("keep=16");
  EXPECT_GE(Device("vmem0").at("present"), (12_MiB).value) << "memory of programs is taken from the new memory first";
  ExpectBooksAgree();
  Resize("256M");
  ExpectBooksAgree();
  const uint64_t charge = Charge();
  const uint64_t present = Device("vmem0").at("present");
  // What a program keeps there moves to boot memory.
  Resize("0");
  EXPECT_EQ(Device("vmem0").at("present"), 0);
  EXPECT_LE(Charge(), charge - present + (32_MiB).value);
  AwaitMemTotal(total);
  ExpectBooksAgree();
  Guest("check");

  // All the while a program verifies what it wrote, and that fresh memory is fresh.
  const json tables = Info().at("tables");
  vm_->Type("storm=8\r");
  vm_->ReadUntil("storm: running");
  Resize("256M");
  Plug({"128M"});
  Resize("128M");
  EXPECT_EQ(Unplug(0).at("outcome"), "done");
  Resize("0");
  EXPECT_EQ(Device("vmem0").at("present"), 0);
  vm_->Type("\r");
  EXPECT_THAT(vm_->ReadUntil("shell: ready"), HasSubstr("storm: ok"));
  AwaitMemTotal(total);
  ExpectBooksAgree();
  EXPECT_LE(Info().at("tables").at("live"), tables.at("live").get<uint64_t>() + 16) << "tables add up";

  const uint64_t before = Charge();
  Balloon("40M");
  EXPECT_EQ(Device("balloon0").at("held"), (280_MiB).value);
  EXPECT_LE(Charge(), before);
  EXPECT_LE(Info().at("memory").at("present"), (44_MiB).value);
  ExpectBooksAgree();
  const json balloon = Device("balloon0");
  std::printf("balloon: %lu calls to the host gave back %lu MiB, and %lu MiB had been reported free\n",
              balloon.at("host-calls").get<unsigned long>(), balloon.at("returned").get<unsigned long>() >> 20,
              balloon.at("reported").get<unsigned long>() >> 20);
  Balloon("320M");
  EXPECT_EQ(Device("balloon0").at("held"), 0);
  Guest("touch=4");
  ExpectBooksAgree();

  // The next guest is asked for what this one was asked for.
  Resize("128M");
  vm_->Type("reboot\r");
  AwaitShell();
  Resize("128M");
  AwaitMemTotal(total + (128_MiB).value);
  ExpectBooksAgree();
  vm_->Type("exit\r");
  EXPECT_EQ(vm_->Wait(), 0);
}

}  // namespace
}  // namespace faultline::e2e
