// What a client can do to the monitor: nothing that another client would notice.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "tests/vmm/control/monitor_harness.h"

namespace faultline {
namespace {

using nlohmann::json;

void ExpectServed(MonitorHarness& monitor) {
  RawClient client(monitor.socket_path());
  ASSERT_TRUE(client.Negotiate());
  ASSERT_TRUE(client.Send(R"({"execute":"query-status"})"));
  EXPECT_EQ(json::parse(client.Line().value()).at("return").at("running"), true);
}

// The last error before the connection was closed.
std::string LastError(RawClient& client) {
  std::string desc;
  while (const auto line = client.Line()) {
    const json message = json::parse(*line);
    if (message.contains("error")) desc = message.at("error").at("desc");
  }
  return desc;
}

TEST(HostileClient, SendingAHundredMegabytesIsStoppedAtTheLimit) {
  MonitorHarness monitor;
  RawClient client(monitor.socket_path());
  ASSERT_TRUE(client.Negotiate());
  const std::string piece(size_t{1} << 20, 'a');
  ASSERT_TRUE(client.Send("{\"execute\":\""));
  bool taken = true;
  for (int i = 0; i < 100 && taken; ++i) taken = client.Send(piece);
  EXPECT_FALSE(taken) << "the monitor must hang up long before the end";
  EXPECT_NE(LastError(client).find("longer than 1048576 bytes"), std::string::npos);
  ExpectServed(monitor);
}

TEST(HostileClient, NestingWithoutEndIsStopped) {
  MonitorHarness monitor;
  RawClient client(monitor.socket_path());
  ASSERT_TRUE(client.Negotiate());
  client.Send(std::string(100000, '['));
  EXPECT_NE(LastError(client).find("deeper than 64"), std::string::npos);
  ExpectServed(monitor);
}

TEST(HostileClient, GarbageGetsAnErrorForEachLine) {
  MonitorHarness monitor;
  RawClient client(monitor.socket_path());
  ASSERT_TRUE(client.Negotiate());
  std::string garbage;
  for (int i = 1; i < 256; ++i) garbage += std::string("x") + static_cast<char>(i == '\n' ? 'y' : i) + "\n";
  ASSERT_TRUE(client.Send(garbage));
  for (int i = 1; i < 256; ++i) {
    ASSERT_EQ(json::parse(client.Line().value()).at("error").at("class"), "GenericError");
  }
  ExpectServed(monitor);
}

TEST(HostileClient, HalfAMessageAndThenSilenceHoldsNobodyUp) {
  MonitorHarness monitor;
  RawClient client(monitor.socket_path());
  ASSERT_TRUE(client.Negotiate());
  ASSERT_TRUE(client.Send(R"({"execute":"query-)"));
  ExpectServed(monitor);
  ASSERT_TRUE(client.Send(R"(status"})"));
  EXPECT_EQ(json::parse(client.Line().value()).count("return"), 1U);
}

TEST(HostileClient, LeavingInTheMiddleOfAMessageIsForgotten) {
  MonitorHarness monitor;
  for (int i = 0; i < 200; ++i) {
    RawClient client(monitor.socket_path());
    ASSERT_TRUE(client.Negotiate());
    ASSERT_TRUE(client.Send(R"({"execute":"query-status"}{"exec)"));
  }
  ExpectServed(monitor);
}

TEST(HostileClient, OneThatNeverReadsIsNotReadFromEither) {
  MonitorHarness monitor;
  RawClient client(monitor.socket_path());
  ASSERT_TRUE(client.Negotiate());
  const std::string command = R"({"execute":"query-commands"})";
  size_t sent = 0;
  while (sent < (size_t{64} << 20)) {
    const ssize_t n = send(client.fd(), command.data(), command.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      ASSERT_EQ(static_cast<size_t>(n), command.size());
      sent += command.size();
      continue;
    }
    pollfd fd{client.fd(), POLLOUT, 0};
    if (poll(&fd, 1, 200) == 0) break;
  }
  EXPECT_LT(sent, size_t{8} << 20) << "answers pile up without bound";
  ExpectServed(monitor);
  // Nothing is lost for one that comes to its senses.
  for (size_t answers = 0; answers < sent / command.size(); ++answers) ASSERT_TRUE(client.Line());
}

TEST(HostileClient, OneThatNeverReadsIsDroppedOnceEventsPileUp) {
  QmpServer::Limits limits;
  limits.session.drop_bytes = size_t{256} << 10;
  MonitorHarness monitor(limits);
  RawClient deaf(monitor.socket_path());
  RawClient good(monitor.socket_path());
  ASSERT_TRUE(deaf.Negotiate());
  ASSERT_TRUE(good.Negotiate());
  const json data{{"text", std::string(1000, 'e')}};
  for (int i = 0; i < 3000; ++i) {
    monitor.server().Emit("X", data);
    ASSERT_TRUE(good.Line()) << "event " << i;
  }
  int received = 0;
  while (deaf.Line()) ++received;
  EXPECT_LT(received, 3000) << "the connection must have been closed";
  ExpectServed(monitor);
}

TEST(HostileClient, AThousandConnectionsAreRefusedClearlyAndLeaveTheFirstOnesServed) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, 4096);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
  QmpServer::Limits limits;
  limits.clients = 8;
  MonitorHarness monitor(limits);
  RawClient first(monitor.socket_path());
  ASSERT_TRUE(first.Negotiate());
  std::vector<std::unique_ptr<RawClient>> crowd;
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    crowd.push_back(std::make_unique<RawClient>(monitor.socket_path()));
    ASSERT_TRUE(crowd.back()->connected());
    const json greeting = json::parse(crowd.back()->Line().value());
    if (!greeting.contains("error")) continue;
    ++refused;
    EXPECT_NE(greeting.at("error").at("desc").get<std::string>().find("8 clients already"), std::string::npos);
  }
  EXPECT_EQ(refused, 1000 - 7);
  ASSERT_TRUE(first.Send(R"({"execute":"query-status"})"));
  EXPECT_TRUE(first.Line());
  crowd.clear();
  // The places of those who left are free again, as soon as the monitor has seen them leave.
  for (;;) {
    RawClient next(monitor.socket_path());
    if (next.Negotiate()) break;
  }
}

TEST(HostileClient, RunningOutOfDescriptorsDelaysAClientAndLosesNone) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "UBSan's look at an object's type needs descriptors of its own";
#endif
  MonitorHarness monitor;
  RawClient first(monitor.socket_path());
  ASSERT_TRUE(first.Negotiate());
  rlimit old{};
  getrlimit(RLIMIT_NOFILE, &old);
  {
    // The lowest free number is the next to be given out.
    const int next = dup(0);
    close(next);
    RawClient late(monitor.socket_path(), [&] {
      const rlimit none{static_cast<rlim_t>(next) + 1, old.rlim_max};
      ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    });
    ASSERT_TRUE(late.connected());
    ASSERT_TRUE(first.Send(R"({"execute":"query-status"})"));
    EXPECT_TRUE(first.Line()) << "those who are there are served meanwhile";
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
    EXPECT_TRUE(late.Negotiate());
  }
}

}  // namespace
}  // namespace faultline
