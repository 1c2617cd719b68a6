// What a QMP client says to have a VM saved and restored: descriptors, addresses, parameters, and what it is told.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <span>
#include <vector>

#include "tests/vmm/control/command_runner.h"
#include "tests/vmm/control/monitor_harness.h"
#include "vmm/control/named_descriptors.h"
#include "vmm/control/qmp_client.h"
#include "vmm/control/qmp_error.h"

namespace faultline {
namespace {

using nlohmann::json;
using testing::HasSubstr;

FileDescriptor AnyDescriptor() { return {Host::System(), open("/dev/null", O_RDWR | O_CLOEXEC)}; }

QmpClient::Clock::time_point Soon() { return QmpClient::Clock::now() + kSoon; }

// One byte, a space, with descriptors.
bool SendDescriptors(int socket, std::span<const int> fds) {
  char space = ' ';
  iovec data{&space, 1};
  std::vector<std::byte> control(CMSG_SPACE(fds.size_bytes()));
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds.size_bytes());
  std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  return sendmsg(socket, &message, MSG_NOSIGNAL) == 1;
}

using Migrating = CommandRunner;

TEST_F(Migrating, SavesToADescriptorByItsNameOnce) {
  vm_.descriptors().Add("migrate", AnyDescriptor());
  EXPECT_EQ(Run("migrate", {{"uri", "fd:migrate"}, {"detach", true}, {"resume", false}}), json::object());
  EXPECT_EQ(vm_.saves.size(), 1U);
  EXPECT_THAT(Error("migrate", {{"uri", "fd:migrate"}}), HasSubstr("'migrate' not found"));
}

TEST_F(Migrating, RefusesWhatItCannotDoByName) {
  vm_.descriptors().Add("x", AnyDescriptor());
  EXPECT_THAT(Error("migrate", {{"uri", "exec:cat"}}), HasSubstr("fd:NAME"));
  EXPECT_THAT(Error("migrate", {{"uri", "fd:x"}, {"resume", true}}), HasSubstr("'resume'"));
  EXPECT_THAT(Error("migrate", {{"uri", "fd:x"}, {"blk", true}}), HasSubstr("'blk'"));
  EXPECT_THAT(Error("migrate-incoming", {{"uri", "fd:x"}}), HasSubstr("'-incoming' was not specified"));
  EXPECT_THAT(Error("migrate-set-parameters", {{"max-bandwidth", 0}}), HasSubstr("max_bandwidth"));
  EXPECT_THAT(Error("migrate-set-parameters", {{"downtime-limit", 3}}), HasSubstr("'downtime-limit'"));
  EXPECT_TRUE(vm_.saves.empty());
  EXPECT_EQ(Run("closefd", {{"fdname", "x"}}), json::object()) << "it is still there";
  EXPECT_THAT(Error("closefd", {{"fdname", "x"}}), HasSubstr("'x' not found"));
}

TEST_F(Migrating, TellsHowFarItIs) {
  EXPECT_EQ(Run("query-migrate"), json::object());
  vm_.migration.status = MigrationStatus::kActive;
  vm_.migration.total = 3_MiB;
  vm_.migration.done = 1_MiB;
  const json answer = Run("query-migrate");
  EXPECT_EQ(answer.at("status"), "active");
  EXPECT_EQ(answer.at("ram").at("remaining"), (2_MiB).value);
  vm_.migration.status = MigrationStatus::kFailed;
  vm_.migration.error = "the disk is full";
  EXPECT_EQ(Run("query-migrate").at("error-desc"), "the disk is full");
  Run("migrate_cancel");
  EXPECT_EQ(vm_.cancelled_migrations, 1);
}

TEST_F(Migrating, TheStateOfTheVmIsNamedAsQemuDoes) {
  vm_.state = RunState::kPaused;
  vm_.migration.status = MigrationStatus::kActive;
  EXPECT_EQ(Run("query-status").at("status"), "finish-migrate");
  vm_.migration.status = MigrationStatus::kCompleted;
  vm_.migration.saved_last = true;
  EXPECT_EQ(Run("query-status").at("status"), "postmigrate");
  vm_.state = RunState::kRunning;
  EXPECT_EQ(Run("query-status").at("status"), "running");
}

TEST_F(Migrating, TheBandwidthIsWhatWasSet) {
  EXPECT_EQ(Run("migrate-set-parameters", {{"max-bandwidth", 9223372036853727232}}), json::object());
  EXPECT_EQ(Run("query-migrate-parameters").at("max-bandwidth"), 9223372036853727232);
}

TEST(NamedDescriptors, AreReplacedByNameAndBoundedInNumber) {
  NamedDescriptors names;
  FileDescriptor first = AnyDescriptor();
  const int number = first.get();
  names.Add("a", std::move(first));
  names.Add("a", AnyDescriptor());
  EXPECT_EQ(fcntl(number, F_GETFD), -1) << "the first one is closed";
  EXPECT_THROW(names.Add("7", AnyDescriptor()), QmpError);
  EXPECT_THROW(
      {
        for (size_t i = 1; i < 100; ++i) names.Add(std::string(i, 'n'), AnyDescriptor());
      },
      QmpError);
  EXPECT_TRUE(names.Take("a"));
  EXPECT_THROW(names.Take("a"), QmpError);
}

TEST(NamedDescriptors, WhatThisProcessOpenedItselfWasNotInherited) {
  const FileDescriptor own = AnyDescriptor();
  EXPECT_THROW(NamedDescriptors::TakeInherited(std::to_string(own.get())), QmpError);
  EXPECT_NE(fcntl(own.get(), F_GETFD), -1);
  for (const char* bad : {"", "0", "2", "-1", "x", "3x", "99999999999", "1048575"}) {
    EXPECT_THROW(NamedDescriptors::TakeInherited(bad), QmpError) << bad;
  }
  const int inherited = dup(own.get());
  const FileDescriptor taken = NamedDescriptors::TakeInherited(std::to_string(inherited));
  EXPECT_EQ(taken.get(), inherited);
  EXPECT_NE(fcntl(inherited, F_GETFD) & FD_CLOEXEC, 0);
}

TEST(PassedDescriptors, ArriveWithTheCommandThatNamesThem) {
  MonitorHarness monitor;
  std::array<int, 2> pipe{};
  ASSERT_EQ(pipe2(pipe.data(), O_CLOEXEC), 0);
  FileDescriptor read_end(Host::System(), pipe[0]);
  FileDescriptor write_end(Host::System(), pipe[1]);
  {
    QmpClient client(monitor.socket_path(), "fake", Soon());
    client.PassDescriptor("out", write_end.get(), Soon());
    write_end.Reset();
    client.Execute("migrate", {{"uri", "fd:out"}}, Soon());
    EXPECT_THROW(client.Execute("getfd", {{"fdname", "none"}}, Soon()), faultline::Error);
  }
  monitor.Stop();
  ASSERT_EQ(monitor.vm().saves.size(), 1U);
  EXPECT_EQ(write(monitor.vm().saves[0].get(), "x", 1), 1);
  char c = 0;
  EXPECT_EQ(read(read_end.get(), &c, 1), 1);
}

// Many at once, without a command, over and over: the oldest are closed.
TEST(PassedDescriptors, DoNotPileUp) {
  MonitorHarness monitor;
  RawClient client(monitor.socket_path());
  ASSERT_TRUE(client.Negotiate());
  std::array<int, 2> pipe{};
  ASSERT_EQ(pipe2(pipe.data(), O_CLOEXEC | O_NONBLOCK), 0);
  const FileDescriptor read_end(Host::System(), pipe[0]);
  FileDescriptor write_end(Host::System(), pipe[1]);
  for (int i = 0; i < 200; ++i) {
    std::array<int, 10> many{};
    many.fill(write_end.get());
    ASSERT_TRUE(SendDescriptors(client.fd(), many));
  }
  EXPECT_TRUE(client.Send(R"({"execute":"query-name"})"));
  EXPECT_TRUE(client.Line());
  const auto open_now = std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  EXPECT_LT(open_now, 100);
}

}  // namespace
}  // namespace faultline
