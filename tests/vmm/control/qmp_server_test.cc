#include "vmm/control/qmp_server.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/vmm/control/monitor_harness.h"
#include "vmm/control/qmp_client.h"

namespace faultline {
namespace {

using nlohmann::json;

json Ask(RawClient& client, const std::string& text) {
  EXPECT_TRUE(client.Send(text));
  const auto line = client.Line();
  return line ? json::parse(*line) : json();
}

QmpClient::Clock::time_point Soon() { return QmpClient::Clock::now() + kSoon; }

TEST(QmpServer, GreetsAsAQemuThatNamesUs) {
  MonitorHarness monitor;
  RawClient client(monitor.socket_path());
  const json greeting = json::parse(client.Line().value());
  EXPECT_EQ(greeting.at("QMP").at("version").at("qemu").at("major"), 7);
  EXPECT_EQ(greeting.at("QMP").at("version").at("package").get<std::string>().substr(0, 10), "faultline ");
  EXPECT_EQ(greeting.at("QMP").at("capabilities"), json::array());
}

TEST(QmpServer, WantsCapabilitiesNegotiatedFirstAndOnce) {
  MonitorHarness monitor;
  RawClient client(monitor.socket_path());
  client.Line();
  EXPECT_EQ(Ask(client, R"({"execute":"query-status"})").at("error").at("class"), "CommandNotFound");
  EXPECT_EQ(Ask(client, R"({"execute":"qmp_capabilities","arguments":{"enable":["oob"]}})").count("error"), 1U);
  EXPECT_EQ(Ask(client, R"({"execute":"qmp_capabilities"})"), (json{{"return", json::object()}}));
  EXPECT_EQ(Ask(client, R"({"execute":"qmp_capabilities"})").at("error").at("class"), "CommandNotFound");
  EXPECT_EQ(Ask(client, R"({"execute":"query-status"})").at("return").at("running"), true);
}

TEST(QmpServer, ReturnsTheIdOfTheRequestWithResultsAndErrors) {
  MonitorHarness monitor;
  RawClient client(monitor.socket_path());
  ASSERT_TRUE(client.Negotiate());
  EXPECT_EQ(Ask(client, R"({"execute":"query-name","id":{"n":[1]}})").at("id"), (json{{"n", {1}}}));
  EXPECT_EQ(Ask(client, R"({"execute":"nonsense","id":"x"})").at("id"), "x");
}

TEST(QmpServer, SaysWhatIsWrongWithABadRequest) {
  MonitorHarness monitor;
  RawClient client(monitor.socket_path());
  ASSERT_TRUE(client.Negotiate());
  const struct {
    const char* request;
    const char* error_class;
    const char* desc_part;
  } kBad[] = {
      {"hello\n", "GenericError", "JSON"},
      {"[1]", "GenericError", "object"},
      {"{\"execute\" \"stop\"}", "GenericError", "JSON parse error"},
      {"{'execute':'stop'}", "GenericError", "JSON parse error"},
      {"{}", "GenericError", "lacks member 'execute'"},
      {R"({"execute":1})", "GenericError", "must be a string"},
      {R"({"execute":"stop","arguments":[]})", "GenericError", "must be an object"},
      {R"({"execute":"stop","argument":{}})", "GenericError", "'argument' is unexpected"},
      {R"({"execute":"stop","arguments":{"x":1}})", "GenericError", "'x' is unexpected"},
      {R"({"execute":"no-such"})", "CommandNotFound", "no-such"},
      {R"({"execute":"device_del"})", "GenericError", "'id' is missing"},
      {R"({"execute":"device_del","arguments":{"id":7}})", "GenericError", "expected: string"},
      {R"({"execute":"device_del","arguments":{"id":"x"}})", "DeviceNotFound", "'x'"},
      {R"({"execute":"x-faultline-memory-plug","arguments":{"size":-1}})", "GenericError", "expected: uint64"},
      {R"({"execute":"x-faultline-memory-plug","arguments":{"size":1e30}})", "GenericError", "expected: uint64"},
      {R"({"execute":"qom-get","arguments":{"path":"/machine","property":"type"}})", "DeviceNotFound", "/machine"},
  };
  for (const auto& bad : kBad) {
    const json error = Ask(client, bad.request).at("error");
    EXPECT_EQ(error.at("class"), bad.error_class) << bad.request;
    EXPECT_NE(error.at("desc").get<std::string>().find(bad.desc_part), std::string::npos) << error;
  }
  EXPECT_EQ(Ask(client, R"({"execute":"query-status"})").count("return"), 1U) << "the connection survives it all";
}

TEST(QmpServer, BrokenUtf8ComesBackAsText) {
  MonitorHarness monitor;
  RawClient client(monitor.socket_path());
  ASSERT_TRUE(client.Negotiate());
  EXPECT_EQ(Ask(client, "{\"execute\":\"\xff\xfe\"}").count("error"), 1U);
}

TEST(QmpServer, AnswersPipelinedCommandsInOrder) {
  MonitorHarness monitor;
  RawClient client(monitor.socket_path());
  ASSERT_TRUE(client.Negotiate());
  std::string all;
  for (int i = 0; i < 500; ++i) all += R"({"execute":"query-name","id":)" + std::to_string(i) + "}";
  ASSERT_TRUE(client.Send(all));
  for (int i = 0; i < 500; ++i) ASSERT_EQ(json::parse(client.Line().value()).at("id"), i);
}

TEST(QmpServer, AnswersEverythingToAClientThatClosedItsSendingSide) {
  MonitorHarness monitor;
  RawClient client(monitor.socket_path());
  ASSERT_TRUE(client.Negotiate());
  std::string all;
  for (int i = 0; i < 500; ++i) all += R"({"execute":"query-name"})";
  ASSERT_TRUE(client.Send(all));
  shutdown(client.fd(), SHUT_WR);
  int answers = 0;
  while (client.Line()) ++answers;
  EXPECT_EQ(answers, 500);
}

TEST(QmpServer, SendsEventsToEveryNegotiatedClientAndToNoOther) {
  MonitorHarness monitor;
  RawClient one(monitor.socket_path());
  RawClient two(monitor.socket_path());
  RawClient silent(monitor.socket_path());
  ASSERT_TRUE(one.Negotiate());
  ASSERT_TRUE(two.Negotiate());
  silent.Line();
  std::thread vcpu([&] { monitor.server().Emit("STOP", json()); });
  vcpu.join();
  for (RawClient* client : {&one, &two}) {
    const json event = json::parse(client->Line().value());
    EXPECT_EQ(event.at("event"), "STOP");
    EXPECT_GT(event.at("timestamp").at("seconds"), 0);
    EXPECT_EQ(event.count("data"), 0U);
  }
  EXPECT_EQ(Ask(silent, R"({"execute":"qmp_capabilities"})"), (json{{"return", json::object()}}))
      << "its next line is the answer, not the event";
}

TEST(QmpServer, AFloodOfEventsIsCountedInsteadOfStored) {
  QmpServer::Limits limits;
  limits.queued_events = 8;
  MonitorHarness monitor(limits);
  RawClient client(monitor.socket_path());
  ASSERT_TRUE(client.Negotiate());
  monitor.Stop();
  for (int i = 0; i < 100; ++i) monitor.server().Emit("X", {{"n", i}});
  monitor.server().DeliverEvents();
  for (int i = 0; i < 8; ++i) EXPECT_EQ(json::parse(client.Line().value()).at("data").at("n"), i);
  const json lost = json::parse(client.Line().value());
  EXPECT_EQ(lost.at("event"), "X_FAULTLINE_EVENTS_LOST");
  EXPECT_EQ(lost.at("data").at("count"), 92);
}

TEST(QmpClient, RunsCommandsAndKeepsEventsThatComeBetween) {
  MonitorHarness monitor;
  QmpClient client(monitor.socket_path(), "fake", Soon());
  monitor.server().Emit("ONE", json());
  EXPECT_EQ(client.Execute("query-name", json::object(), Soon()).at("name"), "fake");
  monitor.server().Emit("TWO", json());
  EXPECT_EQ(client.NextEvent(Soon()).value().at("event"), "ONE");
  EXPECT_EQ(client.NextEvent(Soon()).value().at("event"), "TWO");
  EXPECT_FALSE(client.NextEvent(QmpClient::Clock::now()));
}

TEST(QmpClient, KnowsAWrongRequestFromAFailure) {
  MonitorHarness monitor;
  QmpClient client(monitor.socket_path(), "fake", Soon());
  EXPECT_THROW(client.Execute("x-faultline-memory-unplug", {{"id", "nothing"}}, Soon()), UsageError);
  try {
    client.Execute("x-faultline-memory-plug", {{"size", (2_GiB).value}}, Soon());
    FAIL() << "the host has not that much";
  } catch (const UsageError&) {
    FAIL() << "the request was right";
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()), "the host has no memory for dimm0: free some");
  }
}

TEST(QmpClient, SaysThatTheVmHasEnded) {
  auto dying = std::make_unique<MonitorHarness>();
  QmpClient client(dying->socket_path(), "fake", Soon());
  dying.reset();
  EXPECT_THROW(client.NextEvent(Soon()), VmGone);
  EXPECT_THROW(client.Execute("query-name", json::object(), Soon()), VmGone);
}

TEST(QmpClient, DoesNotWaitForAVmThatNeverAnswers) {
  TempDir dir;
  const VmLease lease(dir.path(), "deaf");
  const FileDescriptor listener = lease.Listen();
  EXPECT_THROW(QmpClient(lease.socket_path(), "deaf", QmpClient::Clock::now() + std::chrono::milliseconds(30)), Error);
}

}  // namespace
}  // namespace faultline
