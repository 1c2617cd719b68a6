// Storms whose host stops serving faults: nothing may hang with them.
#include <gmock/gmock.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/guestmem/failing_host.h"
#include "tests/vmm/storm/short_storm.h"

// The leak check at exit stops every thread first, and one that waits for a page in the kernel cannot be.
extern "C" int __lsan_is_turned_off();               // NOLINT(bugprone-reserved-identifier): the sanitizer's name
extern "C" int __lsan_is_turned_off() { return 1; }  // NOLINT(bugprone-reserved-identifier)

namespace faultline {
namespace {

StormOptions Threads() {
  StormOptions options = ShortStorm(StormEngineKind::kThreads);
  options.duration = std::chrono::hours(1);
  options.stuck_after = std::chrono::seconds(2);
  return options;
}

// From the 200th page on, whoever installs one sleeps for ever, with whatever locks are held then.
void HangInstalls(FailingHost& host) {
  auto installs = std::make_shared<std::atomic<int>>(0);
  host.set_before([installs](const HostCall& call) {
    if (call.kind != HostCallKind::kIoctl || (call.detail != UFFDIO_COPY && call.detail != UFFDIO_ZEROPAGE)) return;
    if (installs->fetch_add(1) >= 200) {
      for (;;) pause();
    }
  });
}

TEST(HungStorm, EndsAndCountsItsStuckVcpus) {
  auto& host = *new FailingHost;  // never destroyed: its callers outlive the test
  HangInstalls(host);
  const StormResult result = RunStorm(host, Threads());
  EXPECT_GT(result.violations.stuck_vcpus, 0U);
  EXPECT_FALSE(result.Clean());
}

TEST(HungStormDeathTest, EndsTheProgramWithItsResultsPrinted) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto command = [] {
    auto& host = *new FailingHost;
    HangInstalls(host);
    StormCommand storm;
    storm.options = Threads();
    dup2(STDERR_FILENO, STDOUT_FILENO);  // which the test sees
    const int status = RunStormCommand(host, storm);
    _exit(status + 100);  // not to be reached
  };
  EXPECT_EXIT(command(), testing::ExitedWithCode(1), "stuck vCPUs");
}

}  // namespace
}  // namespace faultline
