#include "vmm/storm/watch.h"

#include <gtest/gtest.h>

namespace faultline {
namespace {

using std::chrono::seconds;

struct Watched {
  VcpuWatch::Clock::time_point start = VcpuWatch::Clock::now();
  VcpuWatch watch{2, seconds(5), start};
};

TEST(VcpuWatch, IsContentWhileHeartbeatsMove) {
  Watched w;
  for (int s = 1; s < 60; ++s) {
    for (const unsigned vcpu : {0U, 1U}) w.watch.Observe(vcpu, static_cast<uint64_t>(s), w.start + seconds(s));
  }
  EXPECT_EQ(w.watch.stuck(), 0U);
}

TEST(VcpuWatch, CountsAVcpuThatStoppedLongerThanTheBound) {
  Watched w;
  for (int s = 1; s < 60; ++s) {
    w.watch.Observe(0, static_cast<uint64_t>(s), w.start + seconds(s));
    w.watch.Observe(1, 1, w.start + seconds(s));
    EXPECT_EQ(w.watch.stuck(), s > 6 ? 1U : 0U) << s;
  }
}

TEST(VcpuWatch, CountsAVcpuThatNeverStarted) {
  Watched w;
  w.watch.Observe(0, 0, w.start + seconds(6));
  EXPECT_EQ(w.watch.stuck(), 1U);
}

}  // namespace
}  // namespace faultline
