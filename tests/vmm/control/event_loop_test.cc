#include "vmm/control/event_loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "guestmem/error.h"

namespace faultline {
namespace {

using std::chrono::milliseconds;

TEST(EventLoop, RunsWhatOtherThreadsPostInOrder) {
  EventLoop loop;
  std::vector<int> seen;
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) loop.Post([&seen, i] { seen.push_back(i); });
    loop.Quit();
  });
  loop.Run();
  other.join();
  ASSERT_EQ(seen.size(), 100U);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
}

TEST(EventLoop, TimersRunInTheOrderOfTheirTimesAndCancelledOnesDoNot) {
  EventLoop loop;
  std::string seen;
  // Far enough apart that a host which stops this thread meanwhile does not change their order.
  loop.AddTimer(milliseconds(400), [&] {
    seen += 'c';
    loop.Quit();
  });
  loop.AddTimer(milliseconds(2), [&] { seen += 'a'; });
  const auto cancelled = loop.AddTimer(milliseconds(200), [&] { seen += 'b'; });
  loop.CancelTimer(cancelled);
  loop.Run();
  EXPECT_EQ(seen, "ac");
}

TEST(EventLoop, ADescriptorRemovedByACallbackHearsNothingMore) {
  EventLoop loop;
  std::array<int, 2> a{};
  std::array<int, 2> b{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a.data()), 0);
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b.data()), 0);
  // Both are ready in one turn; whichever runs first removes the other.
  ASSERT_EQ(write(a[1], "x", 1), 1);
  ASSERT_EQ(write(b[1], "x", 1), 1);
  int calls = 0;
  const auto callback = [&](int other) {
    return [&, other](uint32_t) {
      ++calls;
      loop.Remove(other);
      loop.Quit();
    };
  };
  loop.Add(a[0], EPOLLIN, callback(b[0]));
  loop.Add(b[0], EPOLLIN, callback(a[0]));
  loop.Run();
  EXPECT_EQ(calls, 1);
  for (const int fd : {a[0], a[1], b[0], b[1]}) close(fd);
}

TEST(EventLoop, RefusesWhatCannotBeWaitedFor) {
  EventLoop loop;
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_THROW(loop.Add(null, EPOLLIN, [](uint32_t) {}), Error);
  close(null);
}

}  // namespace
}  // namespace faultline
