// Linux takes plugged memory into use, gives it back, and says no when it cannot: ACPI memory devices from the command
// line, seen from inside and from the host.
#include "tests/e2e/linux_shell.h"

namespace faultline::e2e {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class LinuxMemory : public LinuxShell {
 protected:
  void SetUp() override {
    if (!HasKvm()) GTEST_SKIP() << "/dev/kvm is not there or not for this user";
    Boot("512M,max=2G,slots=4,nodes=2");
  }
};

TEST_F(LinuxMemory, IsOnlinedTouchedGivenBackAndRefusedWhileItCannotBeMoved) {
  const uint64_t total = MemTotal();
  Plug({"256M"});
  EXPECT_EQ(MemTotal(), total + (256_MiB).value);
  Guest("keep=16");
  EXPECT_GE(Device("dimm0").at("present"), (12_MiB).value) << "memory of programs is taken from the movable zone first";
  Guest("check");

  const uint64_t charge = Charge();
  const uint64_t present = Device("dimm0").at("present");
  json outcome = Unplug(0);
  EXPECT_EQ(outcome.at("outcome"), "done") << outcome;
  const uint64_t charge_after = Charge();
  EXPECT_EQ(MemTotal(), total);
  EXPECT_LE(charge_after, charge - present + (4_MiB).value) << present << " bytes were in use";
  std::printf("host charge: %lu KiB before, %lu KiB after; %lu KiB were in use\n", charge / 1024, charge_after / 1024,
              present / 1024);

  // On a node of its own nothing of the kernel's gets there but what is put there on purpose.
  Guest("online=online_kernel");
  Plug({"128M", "--node", "1"});
  Guest("pin=1");
  EXPECT_GT(Device("dimm0").at("present"), 0U) << "the pages are elsewhere";
  outcome = Unplug(1);
  EXPECT_EQ(outcome.at("outcome"), "refused") << outcome;
  EXPECT_EQ(outcome.at("ost-status"), 0x82) << outcome;
  EXPECT_EQ(outcome.at("id"), "dimm0");
  EXPECT_EQ(outcome.at("addr"), Device("dimm0").at("addr"));
  EXPECT_THAT(outcome.at("reason"), HasSubstr("device busy"));
  EXPECT_FALSE(Device("dimm0").at("unplugging").get<bool>());
  EXPECT_EQ(MemTotal(), total + (128_MiB).value) << "it is in use again";
  Guest("unpin");
  outcome = Unplug(0);
  EXPECT_EQ(outcome.at("outcome"), "done") << outcome;
  EXPECT_EQ(MemTotal(), total);
  EXPECT_EQ(place_.Json({"memory", "operations", "lx"}).size(), 3U);

  vm_->Type("exit\r");
  EXPECT_EQ(vm_->Wait(), 0);
}

}  // namespace
}  // namespace faultline::e2e
