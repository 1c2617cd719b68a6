#include <fcntl.h>
#include <unistd.h>

#include "tests/vmm/storm/short_storm.h"

namespace faultline {
namespace {

class KvmStorm : public testing::Test {
 protected:
  void SetUp() override {
    if (access("/dev/kvm", R_OK | W_OK) != 0) GTEST_SKIP() << "needs /dev/kvm, which is absent or forbidden here";
  }
  static StormOptions Kvm() { return ShortStorm(StormEngineKind::kKvm); }
};

// A memslot update waits for vCPUs inside KVM, and here one nearly always waits there for a page.
TEST_F(KvmStorm, WithASlowSourceGoesOnUnplugging) {
  StormOptions options = Kvm();
  options.source = "delay:100ms";
  options.duration = std::chrono::seconds(2);
  ExpectCleanStorm(options);
}

TEST_F(KvmStorm, MeetsNoMemoryWhereNothingIsPlugged) {
  StormOptions options = Kvm();
  options.vcpus = 1;
  options.regions = 1;
  options.region_size = 2_MiB;
  const StormResult result = RunStorm(Host::System(), options);
  EXPECT_TRUE(result.Clean()) << StormSummary(result);
  EXPECT_GT(result.unplugged_accesses, 0U);
  EXPECT_GT(result.guest_latency.max, 0U);
}

}  // namespace
}  // namespace faultline
