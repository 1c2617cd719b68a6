#include <gmock/gmock.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fstream>

#include "guestmem/error.h"
#include "tests/guestmem/failing_host.h"
#include "tests/vmm/storm/short_storm.h"

namespace faultline {
namespace {

StormOptions Threads() { return ShortStorm(StormEngineKind::kThreads); }

TEST(ThreadsStorm, WithASlowSourceEndsWithoutViolations) {
  StormOptions options = Threads();
  options.source = "delay:20ms";
  ExpectCleanStorm(options);
}

TEST(ThreadsStorm, WithAFileAsSourceFindsTheFilesBytes) {
  const std::string path = testing::TempDir() + "storm_source_" + std::to_string(getpid());
  {
    // Half of a region; zeroes follow it.
    std::ofstream file(path, std::ios::binary);
    for (uint64_t i = 0; i < (4_MiB).value / sizeof i; ++i) {
      const uint64_t word = i * 0x9e3779b97f4a7c15;
      file.write(reinterpret_cast<const char*>(&word), sizeof word);
    }
  }
  StormOptions options = Threads();
  options.source = "file:" + path;
  ExpectCleanStorm(options);
  unlink(path.c_str());
}

TEST(ThreadsStorm, WithFixedFaultAroundEndsWithoutViolations) {
  StormOptions options = Threads();
  options.fault_around = "64K";
  ExpectCleanStorm(options);
}

TEST(ThreadsStorm, WithOneVcpuAndOneRegionEndsWithoutViolations) {
  StormOptions options = Threads();
  options.vcpus = 1;
  options.regions = 1;
  options.region_size = 2_MiB;
  ExpectCleanStorm(options);
}

TEST(ThreadsStorm, UsesTheSeedItIsGiven) {
  StormOptions options = Threads();
  options.duration = std::chrono::milliseconds(100);
  options.seed = 4711;
  EXPECT_EQ(RunStorm(Host::System(), options).options.seed, 4711U);
}

TEST(ThreadsStorm, EndsEarlyWhenInterrupted) {
  std::atomic<bool> interrupted{false};
  StormOptions options = Threads();
  options.duration = std::chrono::hours(1);
  options.interrupted = &interrupted;
  options.progress = [&](const StormProgress& progress) { interrupted = progress.unplugs > 0; };
  const StormResult result = RunStorm(Host::System(), options);
  EXPECT_TRUE(result.Clean()) << StormSummary(result);
  EXPECT_GT(result.unplugs, 0U);
}

TEST(ThreadsStorm, RefusesAnUnknownSource) {
  StormOptions options = Threads();
  options.source = "magic";
  EXPECT_THROW(RunStorm(Host::System(), options), UsageError);
}

TEST(ThreadsStorm, SaysThatASourceFileIsMissing) {
  StormOptions options = Threads();
  options.source = "file:/nonexistent/file";
  EXPECT_THROW(RunStorm(Host::System(), options), Error);
}

TEST(ThreadsStorm, SaysWhyWhenTheHostHasNoMoreMemory) {
  FailingHost host;
  host.Arm(200, ENOMEM, Ioctls(UFFDIO_COPY), ~uint64_t{0} / 2);
  StormOptions options = Threads();
  options.duration = std::chrono::hours(1);
  const StormResult result = RunStorm(host, options);
  EXPECT_THAT(result.failure, testing::HasSubstr("the host could not give the storm a page"));
  EXPECT_EQ(result.violations.Total(), 0U) << StormSummary(result);
  EXPECT_FALSE(result.Clean());
}

}  // namespace
}  // namespace faultline
